"""Windows end with their epoch: whatever the sizes, every sample is taken once in each epoch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.ids import Cursor


@given(samples=st.integers(1, 60), batch=st.integers(1, 20), window=st.integers(1, 9), seed=st.integers(0, 5))
def test_after_every_step_no_sample_is_an_epoch_ahead_of_another(
    samples: int, batch: int, window: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 9, samples)
    plan = BatchPlan(SampleOrder(seed, samples), lengths, batch, window)
    times = np.zeros(samples, np.int64)
    for step in range(3 * samples // batch + 3):
        np.add.at(times, plan.samples(Cursor(step * batch), batch), 1)
        done = (step + 1) * batch
        assert times.min() >= done // samples
        assert times.max() <= -(-done // samples)


def test_a_run_of_whole_epochs_ends_with_every_sample_taken_as_often() -> None:
    plan = BatchPlan(SampleOrder(1, 23), np.arange(23), 5, 3, 46)
    times = np.zeros(23, np.int64)
    for cursor in range(0, 46, 5):
        np.add.at(times, plan.samples(Cursor(cursor), min(5, 46 - cursor)), 1)
    assert set(times.tolist()) == {2}
