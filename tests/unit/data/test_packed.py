"""Packed micro-batches: how wide, how many rows, and whose samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.batches import GlobalShape, Shaping, global_shape, make_micros
from runtime.data.packed import common_shape, items_of, narrowest, packed_micros
from runtime.data.packing import best_fit
from runtime.data.tokens import TokenDataset
from runtime.ids import ShardId
from tests.unit.data.conftest import samples_of

LENGTHS = st.lists(st.integers(2, 33), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 6))
@settings(max_examples=50)
def test_the_chosen_width_suffices_for_as_many_rows_as_the_widest_one(lengths: list[int], spare: int) -> None:
    rows = len(best_fit(lengths, 33)) + spare - 1
    width = narrowest(lengths, rows, 4, 33)
    assert max(lengths) <= width <= 33
    assert (width - 1) % 4 == 0
    assert len(best_fit(lengths, width)) <= rows


def test_a_small_share_is_not_padded_to_the_longest_sample_that_may_come() -> None:
    assert narrowest([10, 12, 7], 1, 32, 2049) == 33
    assert narrowest([], 1, 32, 2049) == 33


@given(st.lists(st.lists(st.integers(2, 33), max_size=8), min_size=1, max_size=8))
@settings(max_examples=50)
def test_the_common_shape_holds_each_shard(shards: list[list[int]]) -> None:
    rows, tokens = common_shape(shards, 4, 33)
    assert all(len(best_fit(shard, tokens)) <= rows for shard in shards)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 5), st.booleans())
@settings(max_examples=50)
def test_every_sample_is_in_one_segment_of_its_shard(
    lengths: list[int], shards: int, micro: int, deterministic: bool
) -> None:
    dataset = samples_of(lengths)
    owned = {ShardId(shard): np.arange(shard, len(lengths), shards) for shard in range(shards)}
    shaping = Shaping(micro, 4, deterministic, row_tokens=33)
    shape = global_shape(dataset, owned, len(lengths), shaping)
    micros = make_micros(dataset, owned, shape, shaping)
    found = []
    for one in micros:
        assert one.packing is not None
        assert one.tokens_BT.shape[0] <= micro
        for row, inside in enumerate(one.packing.samples):
            assert not deterministic or {shard for shard, _ in inside} <= {one.shards[row]}
            for segment, (shard, place) in enumerate(inside, 1):
                here = one.packing.segments_BT[row] == segment
                sample = int(owned[shard][place])
                assert one.tokens_BT[row, here].tolist() == dataset.sample(sample)[0].tolist()
                found.append(sample)
    assert sorted(found) == list(range(len(lengths)))
    assert not deterministic or len({one.tokens_BT.shape for one in micros}) == 1


def test_more_samples_than_rows_are_refused(ragged: TokenDataset) -> None:
    items = items_of({ShardId(0): range(8)})
    with pytest.raises(ValueError, match=r"8 samples need \d rows of 97 tokens, not 1"):
        packed_micros(ragged, items, ShardId(0), rows=1, at_once=1, tokens=97)


def test_shards_without_samples_are_one_row_of_padding(ragged: TokenDataset) -> None:
    (micro,) = make_micros(ragged, {ShardId(3): []}, GlobalShape(1, 0), Shaping(4, 16, row_tokens=65))
    assert micro.shards == (ShardId(3),)
    assert not micro.mask_BT.any()
    assert micro.shards_inside == (ShardId(3),)
