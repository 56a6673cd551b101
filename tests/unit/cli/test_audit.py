"""`mlx-distributed audit`: one line of verdict, and the exit code that goes with it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from console.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ledger"
CONFIG = """
[data]
window = 2
{batching}
[[data.source]]
path = "train.jsonl"
[train]
{length}
global_batch_size = 10
micro_batch_size = 5
"""


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    shutil.copy(FIXTURES / "survived.jsonl", tmp_path / "events.jsonl")
    return tmp_path


def configured(run_folder: Path, *, batching: str = "", length: str = "epochs = 2.5") -> Path:
    (run_folder / "config.toml").write_text(CONFIG.format(batching=batching, length=length))
    return run_folder


def test_a_proven_run_tells_what_it_survived(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["audit", str(configured(run_folder))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "steps       24 (1 to 24)",
        "samples     240 (2.50 epochs of 96)",
        "sessions    2, with 12 generations",
        "done twice  3 of 27 commits are void",
        "survived    5 workers lost, 4 workers hung, 1 coordinator restart, 1 resumption, "
        "3 steps lost in resumptions, 3 steps repeated",
        "proven: every sample was trained on exactly once in its epoch, over 24 steps",
    ]


def test_a_run_that_lacks_commits_is_not_proven(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(FIXTURES / "root_killed.jsonl", configured(run_folder) / "events.jsonl")
    assert main.main(["audit", str(run_folder)]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "violation   steps 7 to 8 are not in the ledger, though step 9 is",
        "not proven: 1 violation",
    ]


def test_a_run_that_committed_nothing_has_nothing_to_prove(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (configured(run_folder) / "events.jsonl").write_text("")
    assert main.main(["audit", str(run_folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "steps       none"
    assert lines[4] == "survived    nothing had to be survived"
    assert lines[-1] == "not proven: 2 violations"


def test_json_says_the_same(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["audit", str(configured(run_folder)), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["proven"], told["steps"], told["epochs"], told["violations"]) == (True, 24, 2.5, [])
    assert told["faults"]["workers lost"] == 5
    assert told["faults"]["rollbacks"] == 0


def test_without_a_configuration_samples_must_stay_in_their_step(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["audit", str(run_folder)]) == 1
    out = capsys.readouterr().out
    assert "note        without the run's config.toml samples are taken to stay in their step\n" in out
    assert "violation   samples " in out


def test_a_configuration_without_windows_is_taken_at_its_word(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["audit", str(configured(run_folder, batching='batching = "pad"'))]) == 1
    assert "config.toml" not in capsys.readouterr().out


def test_a_run_counted_in_steps_has_no_last_window(run_folder: Path) -> None:
    assert main.main(["audit", str(configured(run_folder, length="steps = 24"))]) == 0


def test_no_such_run_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["audit", str(tmp_path / "none")]) == 2
    sentence = f"{tmp_path / 'none'} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart"
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_journal_that_cannot_be_read_is_said(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_folder / "events.jsonl").chmod(0)
    assert main.main(["audit", str(run_folder)]) == 1
    assert capsys.readouterr().err.endswith("events.jsonl cannot be read: Permission denied\n")


def test_a_mixture_by_weight_is_proven_by_steps_and_not_by_epochs(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["audit", str(configured(run_folder, batching='mixing = "weighted"'))]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "proven: every step's samples were trained on exactly once, over 24 steps"
    )
