"""From an empty folder to a run, in a real terminal, by keys alone; the run outlives the console. Run by name only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect  # type: ignore[import-untyped]  # it ships no types
import pytest

from runtime.events import RunFinished
from tests.support.journal import Follower
from tests.support.waiting import until

GUARD_SECONDS = 300
PROGRAM = ["-P", "-c", "from console.cli.main import entry; entry()", "console"]

pytestmark = pytest.mark.opt_in


def test_a_run_is_made_launched_and_followed_and_goes_on_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    console = pexpect.spawn(
        sys.executable,
        PROGRAM,
        cwd=tmp_path,
        env=environment,
        dimensions=(30, 100),
        timeout=GUARD_SECONDS,
        encoding="utf-8",
    )

    def sees(text: str) -> None:
        console.expect_exact(text)

    sees("A new run")
    console.send("\r")
    sees("name of the new file")
    console.send("\r")
    sees("train on")
    console.send("\r")
    sees("nothing wrong")
    changed(console, "train.steps", "optimizer steps", "6")
    changed(console, "warmup_steps", "steps from 0 to lr", "2")
    changed(console, "parallel.workers", "one per device", "1")
    console.send("\x12")
    sees("start it")
    console.send("\r")
    sees("[2 Run]")
    console.send("q")
    console.expect(pexpect.EOF)
    console.close()
    assert console.exitstatus == 0
    assert outcome_of(tmp_path / "runs" / "quickstart") == "done"


def changed(console: pexpect.spawn, key: str, about: str, value: str) -> None:
    """Find the key by its name, and give it another value."""
    console.send("/")
    console.expect_exact("keys whose name")
    console.send("\x15" + key + "\r")
    console.expect_exact(key.rpartition(".")[2])
    console.send("\r")
    console.expect_exact(about)
    console.send("\x15" + value + "\r")


def outcome_of(folder: Path) -> str:
    """How the run ended, when it has."""
    journal = Follower(folder / "events.jsonl")

    def ended() -> RunFinished | None:
        journal.fresh()
        return next((one.event for one in journal.seen if isinstance(one.event, RunFinished)), None)

    return until(ended, within_seconds=GUARD_SECONDS, what=lambda: f"{folder} did not end").outcome
