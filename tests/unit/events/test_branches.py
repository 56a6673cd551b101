"""What a journal says of the checkpoints that may lie beside it."""

from __future__ import annotations

from pathlib import Path

from runtime.events import CheckpointWritten, Event, RolledBack
from runtime.events.branches import Branch, branch_of
from runtime.events.bus import EventBus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Step


def branch(folder: Path, *events: Event) -> Branch:
    journal = Journal(folder / "events.jsonl")
    bus = EventBus()
    bus.add_sink(journal.write)
    for event in events:
        bus.publish(event, ActorPath("run"))
    journal.close()
    return branch_of(journal.path)


def written(step: int) -> CheckpointWritten:
    return CheckpointWritten(Step(step), f"checkpoints/step-{step:08}", 1, 0.1)


def back(from_step: int, to_step: int) -> RolledBack:
    return RolledBack(Step(from_step), Step(to_step), "five skips in a row")


def abandoned(found: Branch, *steps: int) -> list[int]:
    return [step for step in steps if found.is_abandoned(Step(step))]


def test_without_a_rollback_every_checkpoint_counts_also_one_that_the_journal_never_heard_of(tmp_path: Path) -> None:
    assert abandoned(branch(tmp_path, written(5)), 5, 10) == []
    assert abandoned(branch_of(tmp_path / "no such file"), 5) == []


def test_what_lies_behind_a_rollback_is_cut_off_until_it_is_written_anew(tmp_path: Path) -> None:
    found = branch(tmp_path, written(5), written(10), written(15), back(16, 10))
    assert abandoned(found, 5, 10, 15, 20) == [15, 20]
    assert abandoned(branch(tmp_path, written(15)), 5, 10, 15, 20) == [20]


def test_a_rollback_further_back_cuts_off_more(tmp_path: Path) -> None:
    found = branch(tmp_path, written(5), written(10), back(12, 10), written(15), back(16, 5))
    assert abandoned(found, 5, 10, 15) == [10, 15]


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    branch(tmp_path, written(5), back(8, 5))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"seq": 9, "event": "CheckpointWritten", "st\n')
    assert abandoned(branch_of(tmp_path / "events.jsonl"), 5, 8) == [8]
