"""Where a run begins: at the initial model, at its newest good checkpoint, or at one that the user names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.app.run_folder import RunFolder, open_run_folder
from runtime.app.start_point import start_point
from runtime.checkpoint.layout import checkpoint_folders
from runtime.config.schema import Config
from runtime.errors import CheckpointError, UsageError
from runtime.events import CheckpointRejected, CheckpointWritten, RolledBack, RunStarted
from runtime.events.bus import EventBus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Step
from tests.unit.checkpoint.worlds import save

CONFIG = Config()
LION = Config.model_validate({"optim": {"name": "lion"}})
LORA = Config.model_validate({"model": {"path": "org/name", "adapter": {"type": "lora"}}})


def opened(runs: Path, resume: str = "auto") -> RunFolder:
    return open_run_folder(runs, "quick", resume=resume, config_toml="schema = 1\n", command="the command")


def interrupted(runs: Path, *steps: int) -> Path:
    """A run that was killed after it had saved these steps."""
    with opened(runs) as folder:
        journal = Journal(folder.journal_path)
        bus = EventBus()
        bus.add_sink(journal.write)
        bus.publish(RunStarted("quick", 2, Step(1), Step(9), 32, "c"), ActorPath("run"))
        journal.close()
        save(folder.checkpoints, *steps)
        return folder.path


def refuse(rejected: CheckpointRejected) -> None:
    pytest.fail(str(rejected))


def test_a_new_run_begins_with_the_initial_model_and_says_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    with opened(tmp_path) as folder:
        assert start_point(folder, said.append, refuse, CONFIG) == {"step": 0, "cursor": 0, "path": "", "counters": {}}
    assert said == []


def test_an_interrupted_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    interrupted(tmp_path, 5, 10)
    said: list[str] = []
    with opened(tmp_path) as folder:
        begin = start_point(folder, said.append, refuse, CONFIG)
        assert (folder.path / begin["path"] / "manifest.json").is_file()
    assert (begin["step"], begin["cursor"], begin["counters"]["tokens"]) == (10, 320, 10_000)
    assert said == ["resuming from the checkpoint of step 10"]


def test_a_broken_checkpoint_is_a_fact_and_the_one_before_it_used(tmp_path: Path) -> None:
    run = interrupted(tmp_path, 5, 10)
    newest = checkpoint_folders(run / "checkpoints")[0]
    weights = next(newest.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    said: list[str] = []
    rejected: list[CheckpointRejected] = []
    with opened(tmp_path) as folder:
        assert start_point(folder, said.append, rejected.append, CONFIG)["step"] == 5
    assert [fact.path for fact in rejected] == ["checkpoints/step-00000010"]
    assert rejected[0].reason.endswith("; it was moved to checkpoints/quarantine/step-00000010")
    assert said == ["resuming from the checkpoint of step 5"]


def test_a_checkpoint_of_a_branch_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    run = interrupted(tmp_path, 5, 10, 15)
    journal = Journal(run / "events.jsonl")
    bus = EventBus(first_seq=journal.next_seq)
    bus.add_sink(journal.write)
    for step in (5, 10):
        bus.publish(CheckpointWritten(Step(step), f"checkpoints/step-{step:08}", 1, 0.1), ActorPath("run"))
    bus.publish(RolledBack(Step(16), Step(10), "nobody holds the newer state"), ActorPath("run"))
    journal.close()
    rejected: list[CheckpointRejected] = []
    with opened(tmp_path) as folder:
        assert start_point(folder, lambda _: None, rejected.append, CONFIG)["step"] == 10
    assert [fact.path for fact in rejected] == ["checkpoints/step-00000015"]
    assert "the run had gone back behind it" in rejected[0].reason


def test_a_checkpoint_elsewhere_begins_a_new_run_and_stays_as_it_was(tmp_path: Path) -> None:
    old = checkpoint_folders(interrupted(tmp_path, 5) / "checkpoints")[0]
    before = sorted(path.name for path in old.iterdir())
    said: list[str] = []
    with opened(tmp_path, resume=str(old)) as folder:
        begin = start_point(folder, said.append, refuse, CONFIG)
        assert folder.name == "quick-2"
        assert begin["step"] == 5
        assert (folder.path / begin["path"] / "manifest.json").is_file()
    assert said == [f"beginning from {old} (step 5)"]
    assert sorted(path.name for path in old.iterdir()) == before


def test_a_broken_checkpoint_that_the_user_named_ends_the_run(tmp_path: Path) -> None:
    old = checkpoint_folders(interrupted(tmp_path, 5) / "checkpoints")[0]
    next(old.glob("*.safetensors")).unlink()
    with opened(tmp_path, resume=str(old)) as folder, pytest.raises(CheckpointError):
        start_point(folder, lambda _: None, refuse, CONFIG)


def test_a_copy_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    old = checkpoint_folders(interrupted(tmp_path, 5) / "checkpoints")[0]
    with opened(tmp_path, resume=str(old)) as folder:
        shutil.rmtree(folder.checkpoints)
        folder.checkpoints.write_text("a file where a folder should be")
        with pytest.raises(CheckpointError, match="cannot be copied to"):
            start_point(folder, lambda _: None, refuse, CONFIG)


def test_a_checkpoint_of_another_optimizer_is_a_wrong_configuration(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    with opened(tmp_path) as folder, pytest.raises(UsageError, match=r'optim.name = "adamw", not "lion"'):
        start_point(folder, lambda _: None, refuse, LION)


def test_an_adapter_does_not_begin_from_a_checkpoint_of_a_whole_model(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    with opened(tmp_path) as folder, pytest.raises(UsageError, match=r"this run trains an adapter over org/name@main;"):
        start_point(folder, lambda _: None, refuse, LORA)
