"""What a run shows while it goes: JSON that a program can read, and a live line on a terminal that Ctrl-C ends well."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pexpect  # type: ignore[import-untyped]  # it ships no types
import pytest

from runtime.events import RunFinished, StepCommitted, envelope_from_json
from tests.support import processes
from tests.support.journal import read_journal
from tests.support.run_process import COMMAND, MARK
from tests.support.tiny import write_tiny_config

pytestmark = pytest.mark.slow
GUARD_SECONDS = 300.0
COLUMNS = 100
STEPS = 6


def words(folder: Path, *, steps: int) -> list[str]:
    config = write_tiny_config(folder, steps=steps)
    place = ["--set", f"run.output_dir={folder / 'runs'}", "--set", "run.name=shown"]
    return [COMMAND, "run", str(config), "--workers", "1", *place]


def test_json_progress_is_the_journal_line_by_line_and_nothing_else(tmp_path: Path) -> None:
    command = [*words(tmp_path, steps=STEPS), "--progress", "json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GUARD_SECONDS)
    shown = [envelope_from_json(json.loads(line)) for line in said.stdout.splitlines()]
    assert shown == read_journal(tmp_path / "runs" / "shown" / "events.jsonl")
    steps = [envelope.event.step for envelope in shown if isinstance(envelope.event, StepCommitted)]
    assert steps == list(range(1, STEPS + 1))
    assert isinstance(shown[-1].event, RunFinished)


def test_silence_is_kept_when_asked_for_and_the_summary_still_comes(tmp_path: Path) -> None:
    command = [*words(tmp_path, steps=2), "--progress", "none"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GUARD_SECONDS)
    assert "done at step 2" in said.stdout
    assert "step 1" not in said.stderr
    assert "error" not in said.stderr


def test_a_terminal_shows_one_line_that_changes_and_ctrl_c_ends_after_a_checkpoint(tmp_path: Path) -> None:
    mark = {MARK: tmp_path.name + str(os.getpid())}
    program, *arguments = [*words(tmp_path, steps=100_000), "--progress", "live"]
    environment = {**os.environ, **mark, "TERM": "xterm", "NO_COLOR": "1"}
    shown = pexpect.spawn(
        program, arguments, env=environment, timeout=GUARD_SECONDS, dimensions=(30, COLUMNS), encoding="utf-8"
    )
    try:
        first = _step_shown(shown)
        while _step_shown(shown) <= first:  # the same line, a later step
            pass
        shown.sendintr()
        shown.expect("stopped by request at step")
        shown.expect("go on with: mlx-distributed run")
        shown.expect(pexpect.EOF)
        shown.close()
    finally:
        shown.close(force=True)
        processes.kill_all(processes.marked(mark))
    assert shown.exitstatus == 130
    journal = [envelope.event for envelope in read_journal(tmp_path / "runs" / "shown" / "events.jsonl")]
    last = [event.step for event in journal if isinstance(event, StepCommitted)][-1]
    assert (tmp_path / "runs" / "shown" / "checkpoints" / f"step-{last:08d}" / "manifest.json").is_file()


def test_the_live_line_never_wraps(tmp_path: Path) -> None:
    program, *arguments = [*words(tmp_path, steps=STEPS), "--progress", "live"]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    shown = pexpect.spawn(
        program, arguments, env=environment, timeout=GUARD_SECONDS, dimensions=(30, COLUMNS), encoding="utf-8"
    )
    try:
        text = shown.read()
    finally:
        shown.close(force=True)
    drawn = [part.split("\r\n")[-1] for part in text.split("\r\x1b[K")[1:]]
    assert any("step" in line for line in drawn)
    assert [line for line in drawn if len(line) >= COLUMNS] == []
    assert set(re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]", text)) == {"\x1b[K"}


def _step_shown(shown: pexpect.spawn) -> int:
    """The step of the next drawing of the live line."""
    shown.expect(r"\r\x1b\[K[^\r\n]*?step (\d+)")
    return int(shown.match.group(1))
