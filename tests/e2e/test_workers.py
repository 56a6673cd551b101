"""A live run grows and shrinks by command, and the result is the same to the last bit."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from runtime.events import CheckpointWritten, StepCommitted
from tests.chaos.disturbed import undisturbed_hash
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
SETTINGS: dict[str, dict[str, object]] = {
    "run": {"seed": 7, "deterministic": True},
    "parallel": {"workers": 1},
    "optim": {"lr": 1e-3, "schedule": "constant"},
    "checkpoint": {"every": 0},
}


def test_one_worker_is_joined_by_another_and_leaves_it_alone(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path / "changed", steps=1_000_000, extra=SETTINGS)
    with RunProcess(config, tmp_path / "changed") as run:
        run.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        assert run.order("workers", "add") == "worker 1 is added; there are 0, 1 now"
        run.wait_for(StepCommitted, lambda step: {0, 1} <= set(step.owners), within_seconds=GUARD_SECONDS)
        assert run.order("workers", "remove", "0") == "worker 0 is removed; there are 1 now"
        run.wait_for(StepCommitted, lambda step: set(step.owners) == {1}, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        saved = run.wait_for(CheckpointWritten, within_seconds=GUARD_SECONDS)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
    assert undisturbed_hash(tmp_path / "quiet", saved.step, SETTINGS) == saved.parameter_hash
