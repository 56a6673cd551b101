"""The harness of the end-to-end tests, against a pretended run: it must find orphans and must not wait for ever."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from runtime.events import ActorReady, RunFinished, RunStarted
from runtime.ids import Rank
from tests.support import processes
from tests.support.run_process import RunProcess

pytestmark = pytest.mark.slow

PRETENDED = Path(__file__).with_name("pretended_run.py")


def pretend(folder: Path, behaviour: str) -> RunProcess:
    return RunProcess(Path("any.toml"), folder, command=(sys.executable, "-P", str(PRETENDED), behaviour))


def test_a_run_is_followed_through_its_journal_to_its_exit_code(tmp_path: Path) -> None:
    with pretend(tmp_path, "obedient") as run:
        assert run.wait_for(RunStarted, within_seconds=60).workers == 1
        ready = run.wait_for(ActorReady, lambda event: event.path == "run/worker-0", within_seconds=60)
        assert run.worker_pids() == {Rank(0): ready.pid}
        assert {seen.pid for seen in run.alive()} == {run.pid, ready.pid}
        run.signal_worker(Rank(0))
        assert run.wait_for(RunFinished, within_seconds=60).outcome == "done"
        assert run.finish(within_seconds=60) == 0
        assert run.worker_pids() == {}
        assert len(run.events(RunStarted)) == 1


def test_waiting_for_what_never_comes_ends_with_the_run_and_shows_its_output(tmp_path: Path) -> None:
    with pretend(tmp_path, "obedient") as run:
        run.wait_for(ActorReady, within_seconds=60)
        run.signal_root(signal.SIGKILL)
        with pytest.raises(AssertionError, match="the run ended with -9 before RunFinished:\nsomething to read"):
            run.wait_for(RunFinished, within_seconds=60)


def test_a_worker_that_survives_its_root_fails_the_test_and_is_killed(tmp_path: Path) -> None:
    run = pretend(tmp_path, "orphaning")
    run.tether_guard_seconds = 0.2
    with pytest.raises(AssertionError, match="still alive"), run:
        orphan = run.wait_for(ActorReady, within_seconds=60).pid
    processes.wait_until_gone(run.mark, within_seconds=60)
    assert not processes.is_alive(orphan)
