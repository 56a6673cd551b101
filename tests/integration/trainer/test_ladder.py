"""The ladder with real trainers on a tiny model: broken devices, exploding samples, and what the audit makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import trio

from runtime.events import (
    DataSuspected,
    DeviceSuspected,
    GradientClipped,
    RolledBack,
    StepCommitted,
    WorkerRetired,
)
from tests.support.spoiled_run import Faults, SpoiledRun
from tests.support.tiny import GLOBAL_BATCH, write_tiny_config

NAN = math.nan


@pytest.fixture(autouse=True)
def compilation_as_before() -> Iterator[None]:
    yield
    mx.enable_compile()  # preparing a short run on a CPU switches it off for the process


async def spoiled(folder: Path, faults: Faults, *, steps: int, zscore: float = 0.0, **run: Any) -> SpoiledRun:
    extra: dict[str, dict[str, Any]] = {
        "train": {"spike_zscore": zscore},
        "data": {"max_length": 128, "batching": "pad", "source": [{"path": str(folder / "train.jsonl")}]},
        "run": {"seed": 7, **run},
        "checkpoint": {"every": 4},
    }
    write_tiny_config(folder, steps=steps, extra=extra)
    with trio.fail_after(120):
        return await SpoiledRun(folder, faults).run()


async def test_a_device_that_makes_a_nan_is_told_from_the_data_and_after_three_times_leaves(tmp_path: Path) -> None:
    run = await spoiled(tmp_path, Faults({(1, step): NAN for step in (2, 4, 6)}), steps=8, deterministic=True)
    assert [(fact.rank, fact.step, fact.times) for fact in run.of(DeviceSuspected)] == [(1, 2, 1), (1, 4, 2), (1, 6, 3)]
    assert [fact.rank for fact in run.of(WorkerRetired)] == [1]
    assert run.ended is not None
    assert (run.ended.outcome, run.ends[1].reason) == ("done", run.of(WorkerRetired)[0].reason)
    assert all(fact.applied for fact in run.of(StepCommitted))
    assert run.audit().violations == ()
    healthy = await spoiled(tmp_path / "healthy", Faults(), steps=8, deterministic=True)
    losses = [[fact.loss for fact in each.of(StepCommitted)] for each in (run, healthy)]
    assert losses[0] == losses[1]  # to the bit: nothing of the broken device got in


async def test_samples_that_make_nans_are_passed_over_and_the_audit_says_so(tmp_path: Path) -> None:
    poison = dict.fromkeys(range(6 * GLOBAL_BATCH, 11 * GLOBAL_BATCH, GLOBAL_BATCH), NAN)
    run = await spoiled(tmp_path, Faults(data=poison), steps=12)
    assert run.ended is not None
    assert run.ended.outcome == "done"
    (back,) = run.of(RolledBack)
    assert (back.from_step, back.to_step) == (11, 4)
    assert (back.state_cursor, back.cursor, back.passed_over) == (4 * GLOBAL_BATCH, 11 * GLOBAL_BATCH, 7 * GLOBAL_BATCH)
    assert len({fact.step for fact in run.of(DataSuspected)}) == 5
    assert not run.of(DeviceSuspected)
    committed = run.of(StepCommitted)
    assert [fact.step for fact in committed] == [*range(1, 12), *range(5, 13)]
    assert committed[11].cursor == 11 * GLOBAL_BATCH
    assert committed[11].learning_rate == pytest.approx(committed[4].learning_rate / 2)
    audit = run.audit()
    assert audit.proven, audit.violations
    assert (audit.steps, audit.faults["samples passed over"]) == (12, 7 * GLOBAL_BATCH)
    assert "samples 64 to 175 of the run were passed over: consumed, and not trained on" in audit.notes


async def test_a_ten_thousandfold_gradient_is_clipped_if_it_is_the_data_and_not_used_if_it_is_the_device(
    tmp_path: Path,
) -> None:
    faults = Faults(device={(1, 28): 1e4}, data={29 * GLOBAL_BATCH: 1e4})
    run = await spoiled(tmp_path, faults, steps=32, zscore=6.0)
    assert run.ended is not None
    assert run.ended.outcome == "done"
    assert [(fact.rank, fact.step) for fact in run.of(DeviceSuspected)] == [(1, 28)]
    assert {fact.step for fact in run.of(DataSuspected)} == {30}
    (clipped,) = [fact for fact in run.of(GradientClipped) if fact.zscore > 100]
    assert clipped.step == 30
    norms = {fact.step: fact.grad_norm for fact in run.of(StepCommitted)}
    assert norms[28] < 100 * norms[27] < norms[30]
    assert clipped.clipped_to < 100 * norms[27]
    assert not run.of(RolledBack)
    assert run.audit().proven
