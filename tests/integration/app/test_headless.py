"""A headless run seen from inside its own process: what it returns, prints, and says to the person who started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.cli.headless import train
from runtime.app.process_identity import identity_of
from runtime.app.run import run_headless
from runtime.errors import ConfigError
from runtime.events import ActorExited, ActorReady, CheckpointWritten, Envelope, RunState, StepCommitted, StopRequested
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
EXTRA: dict[str, dict[str, Any]] = {"run": {"seed": 7, "name": "inside"}, "supervision": {"spare": 0}}


@pytest.fixture(autouse=True)
def _runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Interrupting:
    """Shows nothing, and presses Ctrl-C so many times: once a step is committed, and whenever it was heard.

    With `freeze` the first worker is stopped before, so that an orderly end would take long.
    """

    def __init__(self, presses: int, *, freeze: bool = False) -> None:
        self.left, self.freeze = presses, freeze
        self.first_worker = 0
        self.asked: list[StopRequested] = []
        self.committed: list[int] = []
        self.saved: list[int] = []
        self.ends: set[str] = set()
        """How the worker processes ended."""

    def update(self, envelope: Envelope, state: RunState) -> None:
        match envelope.event:
            case ActorReady(path="run/node/worker-0", pid=pid):
                self.first_worker = pid
            case ActorExited(path="run/node/worker-0" | "run/node/worker-1", reason=reason):
                self.ends.add(reason)
            case StepCommitted(step=step):
                self.committed.append(step)
                if len(self.committed) == 1:
                    if self.freeze:
                        os.kill(self.first_worker, signal.SIGSTOP)
                    self._press()
            case StopRequested() as asked:
                self.asked.append(asked)
                self._press()
            case CheckpointWritten(step=step):
                self.saved.append(step)
            case _:
                pass

    def close(self, state: RunState) -> None:
        pass

    def _press(self) -> None:
        if self.left:
            self.left -= 1
            os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_that_cannot_start_shows_its_last_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_tiny_config(tmp_path, steps=2, extra={**EXTRA, "cluster": {"env": {"PYTHONHOME": "/nonexistent"}}})
    assert train(config, ["parallel.workers=1"], resume=None, progress_mode="none") == 3
    said = capsys.readouterr().err
    assert "--- last output ---" in said
    assert "error: " in said


def test_an_installation_that_is_broken_is_no_crash_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mlx_lm.py").write_text("raise RuntimeError('half an installation')\n")
    broken = {"cluster": {"env": {"PYTHONPATH": str(tmp_path / "broken")}}}
    config = write_tiny_config(tmp_path, steps=2, extra={**EXTRA, **broken})
    assert train(config, ["parallel.workers=1"], resume=None, progress_mode="json") == 3
    printed = capsys.readouterr()
    assert "RuntimeError: half an installation" in printed.err
    assert "RestartPlanned" not in printed.out


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, extra=EXTRA)
    with pytest.raises(ConfigError, match=r"did you mean optim\.lr"):
        run_headless(config, ["optim.learning_rat=1"], resume=None, observer=Interrupting(0), say=print)
    assert not (tmp_path / "runs").exists()


def test_interrupts_and_what_the_next_run_finds(tmp_path: Path) -> None:
    config = write_tiny_config(tmp_path, steps=100_000, extra=EXTRA)
    said: list[str] = []
    once, twice = Interrupting(1), Interrupting(2, freeze=True)
    first = run_headless(config, ["parallel.workers=1"], resume=None, observer=once, say=said.append)
    assert (first.exit_code, first.state.status, said) == (130, "stopped", [])
    assert once.saved[-1] == once.committed[-1]

    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with stranger:
        identity = identity_of(stranger.pid)
        assert identity is not None
        (first.folder / "pids" / f"{stranger.pid}.json").write_text(json.dumps(identity.to_json()))
        (first.folder / "checkpoints" / "LATEST").write_text("step-00000099")
        second = run_headless(config, ["parallel.workers=1"], resume=None, observer=twice, say=said.append)
        assert stranger.wait(60) == -signal.SIGKILL
    assert "was stopped; going on in it" in said[0]
    assert said[1:] == [
        "ended 1 processes that an earlier run left behind",
        f"resuming from the checkpoint of step {once.saved[-1]}",
    ]
    assert (second.exit_code, second.reason) == (130, "stopped at once: the step under way was not saved")
    assert twice.committed[0] == once.saved[-1] + 1
    assert [asked.now for asked in twice.asked][-1:] == [True]
    assert "LATEST is damaged" in (second.folder / "events.jsonl").read_text()  # found before the run's first fact
    assert (once.ends, twice.ends) == ({"normal"}, {"killed"})  # at once: nobody was granted a grace
