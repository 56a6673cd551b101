"""Global batches as a pure function of the cursor: complete, length-bucketed, and blind to who computes what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.ids import Cursor

LENGTHS = np.random.default_rng(1).integers(2, 100, 203)


def plan_of(count: int = 203, *, batch: int = 8, window: int = 4, total: int | None = None, seed: int = 0) -> BatchPlan:
    return BatchPlan(SampleOrder(seed, count), LENGTHS[:count], batch, window, total)


def whole_run(plan: BatchPlan, total: int) -> list[np.ndarray]:
    batches = []
    for cursor in range(0, total, plan.global_batch_size):
        batches.append(plan.samples(Cursor(cursor), min(plan.global_batch_size, total - cursor)))
    return batches


@given(
    count=st.integers(1, 90),
    batch=st.integers(1, 40),
    window=st.integers(1, 9),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_every_sample_is_taken_exactly_once_per_epoch_to_the_last_short_batch(
    count: int, batch: int, window: int, epochs: int, seed: int
) -> None:
    total = count * epochs
    batches = whole_run(plan_of(count, batch=batch, window=window, total=total, seed=seed), total)
    assert np.bincount(np.concatenate(batches), minlength=count).tolist() == [epochs] * count


def test_a_batch_is_found_without_the_ones_before_it() -> None:
    batches = whole_run(plan_of(), 800)
    for index in (99, 3, 50):
        assert plan_of().samples(Cursor(index * 8), 8).tolist() == batches[index].tolist()


def test_a_longer_run_counted_in_steps_begins_with_the_same_batches() -> None:
    steps = whole_run(plan_of(), 400)
    assert [batch.tolist() for batch in whole_run(plan_of(), 800)[:50]] == [batch.tolist() for batch in steps]


@pytest.mark.parametrize(("cursor", "count"), [(4, 8), (0, 7), (200, 8), (208, 8), (100_000, 8)])
def test_an_order_that_no_step_of_the_run_has_is_refused(cursor: int, count: int) -> None:
    with pytest.raises(ValueError, match="no step of this run"):
        plan_of(total=203).samples(Cursor(cursor), count)


def test_rows_of_a_batch_have_nearly_one_length_and_batches_come_in_no_order_of_it() -> None:
    batches = whole_run(plan_of(window=25), 200)
    spreads = [int(np.ptp(LENGTHS[batch])) for batch in batches]
    means = [float(LENGTHS[batch].mean()) for batch in batches]
    assert max(spreads) <= 16
    assert means != sorted(means)


def test_a_window_of_one_batch_keeps_the_streams_own_batches() -> None:
    batch = plan_of(window=1).samples(Cursor(16), 8)
    assert sorted(batch) == sorted(SampleOrder(0, 203).ids(np.arange(16, 24)))


def test_shards_share_a_batch_out_completely_and_evenly() -> None:
    shards = plan_of(batch=10).shards(Cursor(0), 10, 4)
    assert sorted(np.concatenate(list(shards.values()))) == sorted(plan_of(batch=10).samples(Cursor(0), 10))
    assert [len(samples) for samples in shards.values()] == [3, 3, 2, 2]
    assert all(np.all(np.diff(LENGTHS[samples]) >= 0) for samples in shards.values())


def test_a_short_batch_may_leave_shards_empty() -> None:
    shards = plan_of(total=203).shards(Cursor(200), 3, 8)
    assert [len(samples) for samples in shards.values()] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_only_neighbouring_windows_are_remembered() -> None:
    plan = plan_of(batch=1, window=1)
    for cursor in range(50):
        plan.samples(Cursor(cursor), 1)
    assert len(plan._windows) <= 3
