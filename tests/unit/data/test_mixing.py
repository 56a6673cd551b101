"""Sources by weight: every sample's multiplicity is defined, and any position is found without those before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.mixing import MixedOrder, mixed_order, shares
from runtime.data.plan import BatchPlan
from runtime.errors import DataError
from runtime.ids import Cursor

SIZES, WEIGHTS = (10, 90, 20), (3.0, 1.0, 1.0)


def order(seed: int = 0, *, shuffle: bool = True) -> MixedOrder:
    return mixed_order(seed, SIZES, WEIGHTS, ("a", "b", "c"), shuffle=shuffle)


def test_an_epoch_is_as_long_as_the_sources_and_shared_out_by_weight() -> None:
    assert order().places == (72, 24, 24)
    assert order().count == sum(SIZES)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.001, 1000)), min_size=1, max_size=6))
def test_shares_fill_the_epoch_and_leave_no_source_out(sources: list[tuple[int, float]]) -> None:
    sizes, weights = [size for size, _ in sources], [weight for _, weight in sources]
    found = shares(sizes, weights)
    assert sum(found) == sum(sizes)
    assert min(found) >= 1


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_after_some_epochs_each_sample_was_taken_its_number_of_times(epochs: int, shuffle: bool) -> None:
    mixed = order(3, shuffle=shuffle)
    times = np.bincount(mixed.ids(np.arange(epochs * mixed.count)), minlength=sum(SIZES))
    start = 0
    for size, places in zip(SIZES, mixed.places, strict=True):
        of_source = times[start : start + size]
        assert of_source.sum() == epochs * places
        assert of_source.max() - of_source.min() <= 1
        start += size


@given(cursor=st.integers(0, 100_000), count=st.integers(1, 12), seed=st.integers(0, 5), shuffle=st.booleans())
@settings(max_examples=10, deadline=None)
def test_any_position_is_found_without_those_before_it(cursor: int, count: int, seed: int, shuffle: bool) -> None:
    mixed = order(seed, shuffle=shuffle)
    together = mixed.ids(np.arange(cursor, cursor + count))
    assert together.tolist() == [int(mixed.ids(np.array([at]))[0]) for at in range(cursor, cursor + count)]


def test_bug_21_the_order_is_a_function_of_seed_and_epoch() -> None:
    epoch = np.arange(120)
    assert order(0).ids(epoch).tolist() == order(0).ids(epoch).tolist()
    assert order(0).ids(epoch).tolist() != order(42).ids(epoch).tolist()
    assert order(0).ids(epoch).tolist() != order(0).ids(epoch + 120).tolist()


def test_in_file_order_sources_are_spread_evenly() -> None:
    mixed = MixedOrder(0, (2, 4), (2, 4), shuffle=False)
    assert mixed.ids(np.arange(6)).tolist() == [2, 0, 3, 4, 1, 5]


def test_case_34_a_run_that_goes_on_at_a_cursor_takes_the_same_batches() -> None:
    lengths = np.arange(120) % 17 + 2
    whole = BatchPlan(order(), lengths, 8, 5, 240)
    batches = [whole.samples(Cursor(cursor), 8).tolist() for cursor in range(0, 240, 8)]
    for index in (29, 0, 14, 15):
        assert BatchPlan(order(), lengths, 8, 5, 240).samples(Cursor(index * 8), 8).tolist() == batches[index]
    times = np.bincount(np.concatenate(batches), minlength=120)
    assert times[:10].sum() == 2 * 72


def test_a_source_without_samples_cannot_have_its_share() -> None:
    with pytest.raises(DataError, match=r"no sample of b\.jsonl is left"):
        mixed_order(0, (5, 0), (1.0, 1.0), ("a.jsonl", "b.jsonl"), shuffle=True)
