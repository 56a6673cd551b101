"""What dies comes back, and the result does not show it: the parameters' hash equals the undisturbed run's.

Those marked long run unmeasured in CI: every process of a run takes twice as long when its lines are counted, and these
pass no line that other whole runs do not pass.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.events import (
    ActorReady,
    CheckpointWritten,
    RolledBack,
    RunFinished,
    RunPaused,
    StateHealed,
    StepCommitted,
    StopRequested,
    WorkerHung,
    WorkerJoined,
    WorkerLost,
)
from runtime.ids import Rank
from tests.support import processes
from tests.support.run_process import COMMAND, MARK, RunProcess
from tests.support.sshd import Server, needs_sshd, sshd
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
STEPS = 60
SETTINGS: dict[str, dict[str, Any]] = {
    "run": {"seed": 7, "deterministic": True},
    "supervision": {"spare": 0, "backoff_s": 0.1, "intensity": 8, "hang_floor_s": 5.0},
}


def started(folder: Path, *, spare: int = 0, workers: int = 2) -> RunProcess:
    """The run that every test here disturbs in its own way."""
    config = write_tiny_config(folder, steps=STEPS, extra=SETTINGS)
    words = ["--workers", str(workers), "--set", f"supervision.spare={spare}"]
    return RunProcess(config, folder, arguments=words)


def last_hash(run: RunProcess) -> str:
    """Parameter hash of the final checkpoint."""
    last = run.events(CheckpointWritten)[-1]
    assert last.step == STEPS
    return last.parameter_hash


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hash that every disturbed run must end with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with started(folder, workers=1) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        yield last_hash(run)


def after_step(run: RunProcess, step: int) -> None:
    """Return once `step` is committed."""
    run.wait_for(StepCommitted, lambda event: event.step >= step, within_seconds=GUARD_SECONDS)


def test_survivors_finish_the_step_of_a_killed_worker(undisturbed: str, tmp_path: Path) -> None:
    with started(tmp_path, spare=1) as run:
        after_step(run, 4)
        run.signal_worker(Rank(1), signal.SIGKILL)
        run.wait_for(WorkerLost, within_seconds=GUARD_SECONDS)
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert last_hash(run) == undisturbed
        assert [step.step for step in run.events(StepCommitted)] == list(range(1, STEPS + 1))
        assert not run.events(RolledBack)


@pytest.mark.long
def test_training_goes_on_when_the_coordinator_is_killed(undisturbed: str, tmp_path: Path) -> None:
    with started(tmp_path) as run:
        ready = run.wait_for(ActorReady, lambda event: event.path == "run/coordinator", within_seconds=GUARD_SECONDS)
        after_step(run, 4)
        os.kill(ready.pid, signal.SIGKILL)
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert last_hash(run) == undisturbed
        assert [step.step for step in run.events(StepCommitted)] == list(range(1, STEPS + 1))
        assert not run.events(RolledBack)


def test_a_stopped_worker_is_found_hung_and_never_comes_back(undisturbed: str, tmp_path: Path) -> None:
    with started(tmp_path, spare=1) as run:
        after_step(run, 4)
        pid = run.signal_worker(Rank(0), signal.SIGSTOP)
        run.wait_for(WorkerHung, within_seconds=GUARD_SECONDS)
        run.wait_for(WorkerLost, within_seconds=GUARD_SECONDS)
        assert not processes.is_alive(pid)
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert last_hash(run) == undisturbed


@pytest.mark.long
def test_a_killed_root_leaves_nobody_and_the_same_command_resumes(undisturbed: str, tmp_path: Path) -> None:
    with started(tmp_path) as run:
        run.wait_for(CheckpointWritten, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGKILL)
        processes.wait_until_gone(run.mark, within_seconds=GUARD_SECONDS)
    with started(tmp_path) as again:
        assert again.finish(within_seconds=GUARD_SECONDS) == 0, again.tail()
        assert "was interrupted; going on in it" in again.output.read_text()
        assert "resuming from the checkpoint of step" in again.output.read_text()
        assert last_hash(again) == undisturbed


def test_one_interrupt_saves_the_step_and_the_same_command_goes_on(undisturbed: str, tmp_path: Path) -> None:
    with started(tmp_path) as run:
        after_step(run, 7)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()
        last = run.events(StepCommitted)[-1].step
        assert run.events(CheckpointWritten)[-1].step == last
        assert run.events(RunFinished)[-1].outcome == "stopped"
        assert "mlx-distributed run" in run.tail()
    with started(tmp_path) as again:
        assert again.finish(within_seconds=GUARD_SECONDS) == 0, again.tail()
        assert again.events(StepCommitted)[last].step == last + 1
        assert last_hash(again) == undisturbed


@pytest.mark.long
def test_a_second_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    with started(tmp_path) as run:
        run.wait_for(WorkerJoined, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        run.wait_for(StopRequested, within_seconds=GUARD_SECONDS)
        run.signal_root(signal.SIGINT)
        assert run.finish(within_seconds=GUARD_SECONDS) == 130, run.tail()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Another machine: what is between it and this one is ssh and gRPC, though it is the same one. It lets the mark
    through by which the processes of a run are known."""
    with sshd(tmp_path / "sshd", AcceptEnv=MARK) as server:
        yield server


def with_one_elsewhere(folder: Path, server: Server) -> RunProcess:
    """The same run, with its second worker on the other machine."""
    far = {"hosts": [f"127.0.0.1:{server.port}"], "remote_command": COMMAND}
    config = write_tiny_config(folder, steps=STEPS, extra={**SETTINGS, "cluster": far})
    return RunProcess(config, folder, arguments=["--workers", "1"])


def process_with(run: RunProcess, words: str) -> int:
    """The process of the run whose command line has these words."""
    found = until(
        lambda: [each for each in run.alive() if words in each.command],
        within_seconds=GUARD_SECONDS,
        what=lambda: f"no process with {words}",
    )
    return found[0].pid


@pytest.mark.long
@needs_sshd
def test_a_worker_elsewhere_comes_back_after_its_link_broke_and_the_root_takes_it_along(
    undisturbed: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXD_SSH", " ".join(server.client(SendEnv=MARK)))
    with with_one_elsewhere(tmp_path, server) as run:
        run.wait_for(CheckpointWritten, within_seconds=GUARD_SECONDS)
        agent = process_with(run, "mlx-distributed node")
        subprocess.run([COMMAND, "pause", str(run.run_folder)], check=True, timeout=GUARD_SECONDS)
        run.wait_for(RunPaused, within_seconds=GUARD_SECONDS)  # else it could be over before the worker is back
        os.kill(process_with(run, "BatchMode=yes"), signal.SIGKILL)
        run.wait_for(WorkerLost, lambda lost: lost.rank == 1, within_seconds=GUARD_SECONDS)
        run.wait_for(StateHealed, lambda healed: healed.rank == 1, within_seconds=GUARD_SECONDS)
        assert process_with(run, "mlx-distributed node") != agent
        run.signal_root(signal.SIGKILL)
        processes.wait_until_gone(run.mark, within_seconds=GUARD_SECONDS)  # over there, too
    with with_one_elsewhere(tmp_path, server) as again:
        assert again.finish(within_seconds=GUARD_SECONDS) == 0, again.tail()
        assert [joined.state_step for joined in again.events(WorkerJoined)][-2:] == [-1, -1]
        assert last_hash(again) == undisturbed
