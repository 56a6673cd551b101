"""One worker that is ahead of its coordinator, with everything real: the same bits, through a skip and to the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
import trio

from runtime.checkpoint.hashing import parameter_hash
from runtime.events import StepCommitted
from tests.support.spoiled_run import Faults, SpoiledRun
from tests.support.tiny import write_tiny_config

STEPS = 8


@pytest.fixture(autouse=True)
def compilation_as_before() -> Iterator[None]:
    yield
    mx.enable_compile()  # preparing a short run on a CPU switches it off for the process


async def test_a_worker_that_is_alone_begins_steps_before_they_are_ordered_and_nothing_changes(tmp_path: Path) -> None:
    """Its gradient of step 3 is not finite: what was begun on it must leave no trace."""
    found = []
    for memory_bytes in (1 << 50, 0):
        folder = tmp_path / str(memory_bytes)
        batch = {"global_batch_size": 8, "micro_batch_size": 8, "steps": STEPS}
        extra = {"train": batch, "parallel": {"workers": 1, "logical_shards": 1}, "eval": {"every": 5}}
        write_tiny_config(folder, steps=STEPS, extra=extra | {"data": {"eval": {"eval_fraction": 0.1}}})
        with trio.fail_after(120):
            run = await SpoiledRun(folder, Faults({(0, 3): math.inf}), memory_bytes=memory_bytes).run()
        assert [fact.applied for fact in run.of(StepCommitted)] == [step != 3 for step in range(1, STEPS + 1)]
        assert run.audit().violations == ()
        assert (run.begun > 0) == (memory_bytes > 0)
        found.append(parameter_hash(run.equipment[0].replica.snapshot().parameters))
    assert found[0] == found[1]
