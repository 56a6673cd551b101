"""A run with a worker behind a real sshd: it dies and comes back, nothing of it is left behind, and the result is that
of any other run. On one host; what is between the two machines is ssh and gRPC all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.events import CheckpointWritten, StateHealed, StepCommitted, WorkerJoined, WorkerLost
from tests.e2e.test_deaths import GUARD_SECONDS, SETTINGS, STEPS, last_hash
from tests.support.run_process import MARK, RunProcess
from tests.support.sshd import COMMAND, Server, needs_sshd, sshd
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_sshd]
FAR = 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """It lets the mark through by which the processes of a run are known, and what lines of code are counted by."""
    with sshd(tmp_path / "sshd", AcceptEnv=f"{MARK} COVERAGE_*") as server:
        yield server


def started(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, *more: str) -> RunProcess:
    """One worker here, one behind the server."""
    monkeypatch.setenv("MLXD_SSH", " ".join(server.client(SendEnv=f"{MARK} COVERAGE_*")))
    far = {"hosts": [f"127.0.0.1:{server.port}"], "remote_command": COMMAND}
    config = write_tiny_config(folder, steps=STEPS, extra={**SETTINGS, "cluster": far})
    return RunProcess(config, folder, arguments=["--workers", "1", *more])


def committed(run: RunProcess, step: int) -> None:
    run.wait_for(StepCommitted, lambda fact: fact.step >= step, within_seconds=GUARD_SECONDS)


def test_a_worker_elsewhere_is_lost_with_its_link_and_healed_and_the_root_takes_it_along(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(tmp_path, server, monkeypatch) as run:
        committed(run, 4)
        agent = only(run, "mlx-distributed node")
        os.kill(only(run, "BatchMode=yes"), signal.SIGKILL)
        run.wait_for(WorkerLost, lambda fact: fact.rank == FAR, within_seconds=GUARD_SECONDS)
        run.wait_for(StateHealed, lambda fact: fact.rank == FAR, within_seconds=GUARD_SECONDS)
        assert only(run, "mlx-distributed node") != agent
        saved = run.wait_for(CheckpointWritten, within_seconds=GUARD_SECONDS)
        os.kill(run.pid, signal.SIGKILL)
    with started(tmp_path, server, monkeypatch) as run:  # whoever waits for the far ones to be gone is RunProcess
        joined = run.wait_for(WorkerJoined, lambda fact: fact.rank == FAR, within_seconds=GUARD_SECONDS)
        assert joined.state_step == -1
        healed = run.wait_for(StateHealed, lambda fact: fact.rank == FAR, within_seconds=GUARD_SECONDS)
        assert healed.step >= saved.step, "the checkpoint is on another machine than this worker"
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        hash_with_far = last_hash(run)
    alone = write_tiny_config(tmp_path / "alone", steps=STEPS, extra=SETTINGS)
    with RunProcess(alone, tmp_path / "alone", arguments=["--workers", "1"]) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 0, run.tail()
        assert last_hash(run) == hash_with_far


def test_a_machine_that_does_not_let_us_in_starts_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorized.write_text("")
    with started(tmp_path, server, monkeypatch) as run:
        assert run.finish(within_seconds=GUARD_SECONDS) == 3
        assert "Permission denied" in run.tail()
        assert f"no node agent answers on 127.0.0.1:{server.port}" in run.tail()
        assert not run.events(StepCommitted)


def only(run: RunProcess, words: str) -> int:
    """The process of the run whose command line has these words."""
    found = until(
        lambda: [each for each in run.alive() if words in each.command], within_seconds=GUARD_SECONDS,
        what=lambda: f"no process with {words}",
    )  # fmt: skip
    return found[0].pid
