"""float16 with its real coordinator, trainers and data plane: overflows on one worker only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
import trio

from runtime.events import DeviceSuspected, LossScaleChanged, RolledBack, StepAborted, StepCommitted
from tests.support.spoiled_run import Faults, SpoiledRun
from tests.support.tiny import write_tiny_config


@pytest.fixture(autouse=True)
def compilation_as_before() -> Iterator[None]:
    yield
    mx.enable_compile()  # preparing a short run on a CPU switches it off for the process


async def test_overflows_of_one_worker_are_skipped_by_all_and_halve_the_scale_as_the_table_says(tmp_path: Path) -> None:
    """Worker 1 overflows at steps 1, 2, 3 and 5."""
    model = {
        "dtype": "float16",
        "scratch": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    }
    extra = {"model": model, "run": {"seed": 7, "deterministic": True}, "checkpoint": {"every": 4}}
    write_tiny_config(tmp_path, steps=6, extra=extra)
    with trio.fail_after(120):
        run = await SpoiledRun(tmp_path, Faults({(1, step): math.inf for step in (1, 2, 3, 5)})).run()
    assert run.ended is not None
    assert run.ended.outcome == "done"
    assert [fact.applied for fact in run.of(StepCommitted)] == [False, False, False, True, False, True]
    table = [(1, 65536, 32768), (2, 32768, 16384), (3, 16384, 8192), (5, 8192, 4096)]
    assert [(fact.step, fact.before, fact.after) for fact in run.of(LossScaleChanged)] == table
    assert not [*run.of(DeviceSuspected), *run.of(StepAborted), *run.of(RolledBack)]
    assert run.audit().violations == ()
    replicas = [equipment.replica for equipment in run.equipment]
    snapshots = [replica.snapshot() for replica in replicas]
    assert [snapshot.counters["scale.value"] for snapshot in snapshots] == [4096, 4096]
    assert all(value.dtype == mx.float16 for value in snapshots[0].parameters.values())
    assert all(
        mx.array_equal(snapshots[0].optimizer[name], value).item() for name, value in snapshots[1].optimizer.items()
    )
