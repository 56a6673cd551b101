"""A replacement that was started ahead joins the survivors, and is one of them until the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from runtime.events import SpareReady, StateHealed, StepCommitted, WorkerJoined
from runtime.ids import Rank
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
SETTINGS = {"supervision": {"spare": 1, "backoff_s": 0.1}, "checkpoint": {"every": 0}}


def test_a_spare_takes_the_place_of_a_killed_worker(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, steps=1_000_000, extra=SETTINGS)
    with RunProcess(config, tmp_path) as run:
        run.wait_for(StepCommitted, within_seconds=GUARD_SECONDS)
        spare = run.wait_for(SpareReady, within_seconds=GUARD_SECONDS)
        run.signal_worker(Rank(1), signal.SIGKILL)
        joined = run.wait_for(WorkerJoined, lambda event: event.incarnation == 2, within_seconds=GUARD_SECONDS)
        assert joined.pid == spare.pid
        healed = run.wait_for(StateHealed, within_seconds=GUARD_SECONDS)
        assert healed.rank == 1
        run.wait_for(StepCommitted, lambda event: 1 in event.owners, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
