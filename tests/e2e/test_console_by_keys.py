"""By keys alone, in a real terminal: from an empty folder to a run that was killed, healed, stopped, gone on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.load import load_config
from runtime.events import RunFinished, StateHealed, WorkerLost
from tests.support.by_keys import DIALOG, set_key, shell, stop
from tests.support.journal import read_journal
from tests.support.tmux import PROGRAM

pytestmark = [pytest.mark.opt_in, pytest.mark.skipif(PROGRAM is None, reason="tmux is not installed")]


def test_a_run_is_made_killed_healed_stopped_gone_on_from_left_and_found_again_by_keys_alone(tmp_path: Path) -> None:
    with shell(tmp_path) as terminal:
        terminal.order("mlx-distributed console")
        terminal.sees("[3 Config]", "quickstart")
        terminal.press("Enter")
        terminal.sees("name of the new file")
        terminal.press("Enter")
        terminal.sees("train on")
        terminal.press("Enter")
        terminal.sees("nothing wrong", without=DIALOG)
        set_key(terminal, "hidden_size", "16")
        set_key(terminal, "train.steps", "100000")
        set_key(terminal, "checkpoint.every", "20")
        terminal.press("C-r")
        terminal.sees("start it: 2 workers")
        terminal.press("Enter")
        terminal.sees("[2 Run]", "RUNNING", "workers 2/2", "learning rate")

        terminal.press("1")
        terminal.sees("Supervision", "worker-1")
        terminal.press("Down", "Down", "Down")
        terminal.sees("─ worker-1 ─")
        terminal.press("K")
        terminal.sees("type worker-1 to allow it")
        terminal.type("worker-1")
        terminal.press("Enter")
        terminal.sees("last end", "killed by SIGKILL")
        terminal.sees("workers 2/2", "1 restart", "start 2 · beat", "no alarms", without=DIALOG)
        stop(terminal)

        terminal.press("4")
        terminal.sees("[4 Checkpoints]", "committed", "newest")
        terminal.press("r")
        terminal.sees("start it here, as a run of its own; nothing in")
        terminal.press("Enter")
        terminal.sees("quickstart-2", "[2 Run]", "RUNNING", "learning rate")
        terminal.press("q")
        terminal.sees("the run goes on; come back with: mlx-distributed console runs/quickstart-2")

        terminal.order("mlx-distributed console runs/quickstart-2; echo the shell says $((6 * 7))")
        terminal.sees("[1 Overview]", "quickstart-2", "RUNNING", "worker-1", "LIVE")
        stop(terminal)
        terminal.press("q")
        terminal.sees("the shell says 42")

        runs = tmp_path / "here" / "runs"
        first, second = (
            [each.event for each in read_journal(runs / name / "events.jsonl")]
            for name in ("quickstart", "quickstart-2")
        )
        assert [each.outcome for each in (*first, *second) if isinstance(each, RunFinished)] == ["stopped", "stopped"]
        assert sum(isinstance(each, WorkerLost) for each in first) == 1
        assert sum(isinstance(each, StateHealed) for each in first) == 1
        assert load_config(runs / "quickstart-2" / "config.toml").model.scratch.hidden_size == 16
