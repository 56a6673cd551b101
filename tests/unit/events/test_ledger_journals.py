"""The ledger of a journal with holes, of one with torn lines, and of two real runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.events import (
    Envelope,
    Event,
    RolledBack,
    UnknownEvent,
    Warned,
)
from runtime.events.journal import encode_line
from runtime.events.ledger import audit_journal
from runtime.events.ledger_samples import ReadingOrder
from runtime.events.replay import JournalReader
from runtime.ids import ActorPath, Step
from tests.unit.events.ledger_histories import (
    audit,
    audit_of,
    commit,
    commits,
    enveloped,
    finished,
    generation,
    started,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "ledger"
FIXTURE_ORDER = ReadingOrder(window_samples=20, epochs=2.5)
"""What the fixtures' configuration said: windows of two steps of ten samples, two and a half epochs of 96."""


# ---- holes in the journal


HISTORY = [started(), generation(), *commits(1, 9), finished(9)]
"""Facts 1 and 2 begin the run, 3 to 11 are its commits, 12 ends it."""


def with_hole(first: int, last: int, history: list[Event] | None = None) -> list[Envelope]:
    return [one for one in enveloped(history or HISTORY) if not first <= one.seq <= last]


def test_a_lost_commit_is_missed() -> None:
    assert audit_of(with_hole(5, 5)).violations == ("step 3 is not in the ledger, though step 4 is",)


@pytest.mark.parametrize(
    ("others", "proven"), [(1, True), (3, True), (4, False)], ids=["a fact", "less than a session", "maybe a session"]
)
def test_a_hole_between_commits_of_one_generation_hides_nothing_while_it_is_small(others: int, proven: bool) -> None:
    history: list[Event] = [started(), *commits(1, 3), *[Warned("here", "it rains")] * others, *commits(4, 9)]
    told = audit_of(with_hole(5, 4 + others, history))
    assert told.proven is proven
    assert (told.notes if proven else told.violations)[0].startswith(
        f"{'a fact is' if others == 1 else f'{others} facts are'} missing after fact 4"
    )


def test_a_hole_where_the_generation_changes_could_hide_a_rollback() -> None:
    warned = Warned("here", "it rains")
    told = audit_of(with_hole(5, 6, [started(), *commits(1, 3), warned, warned, *commits(4, 9, 2)]))
    assert told.violations == ("2 facts are missing after fact 4: a commit or a rollback could be among them",)


def test_a_new_beginning_makes_every_hole_before_it_harmless() -> None:
    history = [*HISTORY[:11], commit(10), started(1, run_id="b"), *commits(1, 9)]
    assert audit_of(with_hole(4, 11, history)).proven
    assert audit_of(with_hole(4, 12, history)).proven


@pytest.mark.parametrize(
    "after",
    [[RolledBack(Step(3), Step(2), "lost")], [started(4, run_id="b")], [finished(3)]],
    ids=["a rollback", "a resumption", "the end"],
)
def test_a_single_lost_fact_is_no_commit_if_what_follows_fits(after: list[Event]) -> None:
    history: list[Event] = [started(), *commits(1, 3), Warned("here", "it rains"), *after]
    assert audit_of(with_hole(5, 5, history)).proven


def test_a_hole_at_the_end_may_hold_a_commit() -> None:
    events = enveloped(HISTORY[:6])
    assert audit_of(events).proven
    told = audit_of(events, torn_after=1)
    assert told.violations == ("a fact is missing after fact 6: a commit or a rollback could be among them",)


def test_the_end_closes_a_hole_only_if_it_names_the_last_commit() -> None:
    assert not audit_of(with_hole(11, 11)).proven
    assert not audit_of(with_hole(11, 11, [*HISTORY[:11], finished(0)])).proven


def test_a_commit_that_cannot_be_read_is_a_hole() -> None:
    broken = UnknownEvent("StepCommitted", {"step": "ten"})
    told = audit(started(), commits(1, 3), broken)
    assert not told.proven
    assert told.notes == ("fact 5, a StepCommitted, cannot be read",)
    assert audit(started(), commits(1, 3), UnknownEvent("MoonRose", {})).proven


def test_numbers_that_go_back_betray_a_second_writer() -> None:
    told = audit_of([*enveloped(HISTORY), *enveloped([commit(9)], first=4)])
    assert told.violations == ("fact 4 comes again after fact 12: two processes wrote this",)


# ---- journals as files


def journal(path: Path, envelopes: list[Envelope]) -> JournalReader:
    path.write_bytes(b"".join(encode_line(envelope) for envelope in envelopes))
    return JournalReader(path)


def test_a_torn_line_that_was_numbered_again_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal(path, enveloped([started(), *commits(1, 3)]))
    with path.open("ab") as file:
        file.write(encode_line(Envelope(5, 1.0, ActorPath("run"), commit(4)))[:40] + b"\n")
        for envelope in enveloped([started(4, run_id="b"), *commits(4, 9)], first=5):
            file.write(encode_line(envelope))
    told = audit_journal(JournalReader(path), ReadingOrder())
    assert told.proven
    assert told.notes == (
        "a fact is missing after fact 4; no commit that counts can be among them",
        f"{path}: 1 torn lines were skipped (the first is line 5)",
    )


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_end_may_be_a_commit(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "events.jsonl"
    journal(path, enveloped(HISTORY[:6]))
    with path.open("ab") as file:
        file.write(b'{"seq":7,"t":' + end)
    assert not audit_journal(JournalReader(path), ReadingOrder()).proven


def test_without_an_order_samples_are_expected_to_stay_in_their_step(tmp_path: Path) -> None:
    told = audit_journal(journal(tmp_path / "events.jsonl", enveloped(HISTORY)))
    assert told.proven
    assert told.notes == ("without the run's config.toml samples are taken to stay in their step",)


def test_a_real_run_with_a_killed_worker_a_killed_coordinator_and_a_killed_root_is_proven() -> None:
    told = audit_journal(JournalReader(FIXTURES / "survived.jsonl"), FIXTURE_ORDER)
    assert told.violations == ()
    assert told.proven
    assert (told.steps, told.samples, told.committed, told.repeated, told.sessions) == (24, 240, 27, 3, 2)
    assert (told.faults["coordinator restarts"], told.faults["steps lost in resumptions"]) == (1, 3)


def test_commits_that_a_dying_root_did_not_write_down_are_missed() -> None:
    """A real run: its workers went on, and saved step 8, for the moment in which the killed root took them with it."""
    told = audit_journal(JournalReader(FIXTURES / "root_killed.jsonl"), FIXTURE_ORDER)
    assert told.violations == ("steps 7 to 8 are not in the ledger, though step 9 is",)
