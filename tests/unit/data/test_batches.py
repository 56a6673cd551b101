"""Micro-batches: every sample once, few shapes, and in deterministic mode nothing but the shard decides its rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from runtime.data.batches import GlobalShape, Shaping, eval_micros, make_micros, padded_tokens
from runtime.data.tokens import TokenDataset
from runtime.flow import Micro
from runtime.ids import ShardId
from tests.unit.data.conftest import samples_of

SHARDS = {ShardId(0): [0, 1, 2], ShardId(1): [3, 4, 5], ShardId(2): [6, 7], ShardId(3): [8, 9]}
SHAPE = GlobalShape(rows_per_shard=3, longest=90)


def samples_in(micros: tuple[Micro, ...]) -> list[int]:
    """The samples of the rows that count: a sample's first token is its number plus one."""
    return sorted(
        int(row[0]) - 1
        for micro in micros
        for row, mask in zip(micro.tokens_BT, micro.mask_BT, strict=True)
        if mask.any()
    )


@pytest.mark.parametrize(("length", "tokens"), [(1, 33), (2, 33), (33, 33), (34, 65), (65, 65), (2048, 2049)])
def test_a_row_gives_the_model_a_multiple_of_positions(length: int, tokens: int) -> None:
    assert padded_tokens(length, 32) == tokens


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 4, 64])
def test_every_sample_is_in_exactly_one_row(ragged: TokenDataset, deterministic: bool, micro_batch_size: int) -> None:
    micros = make_micros(ragged, SHARDS, SHAPE, Shaping(micro_batch_size, 16, deterministic))
    assert samples_in(micros) == list(range(10))
    assert all(len(micro.shards) == len(micro.tokens_BT) <= micro_batch_size for micro in micros)


@pytest.mark.parametrize("deterministic", [False, True])
def test_padding_weighs_nothing_and_the_rest_is_the_samples_own(ragged: TokenDataset, deterministic: bool) -> None:
    micros = make_micros(ragged, SHARDS, SHAPE, Shaping(4, 16, deterministic))
    wanted = sum(int(ragged.sample(sample)[1].sum()) for sample in range(10))
    assert sum(int(micro.mask_BT.sum()) for micro in micros) == wanted
    assert all(not micro.mask_BT[:, 0].any() for micro in micros)
    for micro in micros:
        for row, mask in zip(micro.tokens_BT, micro.mask_BT, strict=True):
            if mask.any():
                ids, learnt = ragged.sample(int(row[0]) - 1)
                assert row[: len(ids)].tolist() == ids.tolist()
                assert mask[: len(ids)].tolist() == learnt.tolist()
                assert not mask[len(ids) :].any()


def test_rows_carry_the_shard_that_they_count_for(ragged: TokenDataset) -> None:
    owner = {sample: shard for shard, samples in SHARDS.items() for sample in samples}
    for deterministic in (False, True):
        for micro in make_micros(ragged, SHARDS, SHAPE, Shaping(4, 16, deterministic)):
            for shard, row, mask in zip(micro.shards, micro.tokens_BT, micro.mask_BT, strict=True):
                assert not mask.any() or owner[int(row[0]) - 1] == shard


def test_deterministic_rows_of_a_shard_do_not_depend_on_its_company(ragged: TokenDataset) -> None:
    shaping = Shaping(2, 16, deterministic=True)
    together = make_micros(ragged, SHARDS, SHAPE, shaping)
    alone = tuple(micro for shard in SHARDS for micro in make_micros(ragged, {shard: SHARDS[shard]}, SHAPE, shaping))
    assert len({micro.tokens_BT.shape for micro in together}) == 1
    assert all(set(micro.shards) == {micro.shards[0]} for micro in together)
    for one, other in zip(together, alone, strict=True):
        assert one.shards == other.shards
        assert np.array_equal(one.tokens_BT, other.tokens_BT)
        assert np.array_equal(one.mask_BT, other.mask_BT)


def test_merged_rows_are_filled_up_to_the_micro_batch_size(ragged: TokenDataset) -> None:
    micros = make_micros(ragged, SHARDS, SHAPE, Shaping(4, 16))
    assert [len(micro.shards) for micro in micros] == [4, 4, 2]
    longest = [micro.tokens_BT.shape[1] for micro in micros]
    assert all(a <= b for a, b in pairwise(longest))


def test_row_counts_are_powers_of_two_or_the_micro_batch_size() -> None:
    dataset = samples_of([5] * 40)
    counts = set()
    for rows in range(1, 13):
        shaping = Shaping(6, 16)
        counts |= {len(micro.shards) for micro in make_micros(dataset, {ShardId(0): range(rows)}, SHAPE, shaping)}
    assert counts == {1, 2, 4, 6}


def test_shards_without_samples_give_one_weightless_row(ragged: TokenDataset) -> None:
    (micro,) = make_micros(ragged, {ShardId(5): [], ShardId(6): []}, SHAPE, Shaping(4, 16))
    assert (micro.shards, micro.tokens_BT.shape, micro.mask_BT.sum()) == ((5,), (1, 17), 0)


def test_a_deterministic_shard_without_samples_keeps_the_common_shape(ragged: TokenDataset) -> None:
    shaping = Shaping(4, 16, deterministic=True)
    (empty,) = make_micros(ragged, {ShardId(5): []}, SHAPE, shaping)
    (full,) = make_micros(ragged, {ShardId(0): [0, 1, 2]}, SHAPE, shaping)
    assert empty.tokens_BT.shape == full.tokens_BT.shape
    assert empty.mask_BT.sum() == 0


@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_evaluation_sees_every_sample_once_over_all_ranks_in_the_same_batches(
    ragged: TokenDataset, shares: int
) -> None:
    shaping = Shaping(8, 16)
    micros = [micro for share in range(shares) for micro in eval_micros(ragged, share, shares, shaping)]
    assert samples_in(tuple(micros)) == list(range(len(ragged)))
    shapes = sorted(micro.tokens_BT.tobytes() for micro in micros)
    assert shapes == sorted(micro.tokens_BT.tobytes() for micro in eval_micros(ragged, 0, 1, shaping))


def test_fewer_evaluation_batches_are_spread_over_all_lengths(ragged: TokenDataset) -> None:
    micros = eval_micros(ragged, 0, 1, Shaping(8, 16), max_batches=4)
    widths = [micro.tokens_BT.shape[1] for micro in micros]
    assert len(micros) == 4
    assert widths[0] < widths[-1]
    assert len(eval_micros(ragged, 0, 1, Shaping(8, 16), max_batches=1000)) == 26


def test_no_held_out_data_is_no_batch() -> None:
    assert eval_micros(TokenDataset.of([]), 0, 1, Shaping(8, 16)) == ()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("budget", [16, 96, 200, 10_000])
def test_a_budget_of_tokens_bounds_the_positions_of_every_micro_batch(
    ragged: TokenDataset, budget: int, deterministic: bool
) -> None:
    micros = make_micros(ragged, SHARDS, SHAPE, Shaping(1, 16, deterministic, budget))
    assert samples_in(micros) == list(range(10))
    for micro in micros:
        rows, tokens = micro.tokens_BT.shape
        assert rows == 1 or rows * (tokens - 1) <= budget


def test_shorter_rows_go_through_the_model_in_greater_numbers() -> None:
    dataset = samples_of([5] * 8 + [65] * 8)
    micros = make_micros(dataset, {ShardId(0): range(16)}, SHAPE, Shaping(1, 16, tokens_per_batch=128))
    assert [micro.tokens_BT.shape for micro in micros] == [(8, 17), *[(2, 65)] * 4]


def test_batches_by_tokens_hold_the_same_targets_as_batches_by_rows(ragged: TokenDataset) -> None:
    shards = {ShardId(0): range(203)}
    by_rows = make_micros(ragged, shards, SHAPE, Shaping(8, 16))
    by_tokens = make_micros(ragged, shards, SHAPE, Shaping(8, 16, tokens_per_batch=512))
    assert sum(micro.mask_BT.sum() for micro in by_rows) == sum(micro.mask_BT.sum() for micro in by_tokens)
    assert len({micro.tokens_BT.shape for micro in by_tokens}) <= 12
