from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings

from runtime.events import (
    ActorExited,
    Envelope,
    Event,
    GenerationStarted,
    RunFinished,
    StateHealed,
    StepCommitted,
    StopRequested,
    UnknownEvent,
    Warned,
    codec,
    envelope_from_json,
    envelope_to_json,
    from_json,
    to_json,
)
from runtime.events.codec import KNOWN
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from tests.unit.events.strategies import events

FIRST_VERSION = Path(__file__).parents[2] / "fixtures" / "events" / "journal-first-version.jsonl"


@settings(deadline=None, max_examples=200)
@given(events())
def test_every_event_survives_a_round_trip_through_json(event: Event) -> None:
    text = json.dumps(to_json(event), allow_nan=False)
    assert repr(from_json(json.loads(text))) == repr(event)  # repr: nan is not equal to itself


def test_the_tag_comes_first_and_fields_keep_their_names() -> None:
    data = to_json(StopRequested(by="SIGINT"))
    assert list(data.items()) == [("type", "StopRequested"), ("by", "SIGINT"), ("now", False)]


def test_numbers_that_json_lacks_travel_as_words() -> None:
    data = to_json(StateHealed(Rank(1), Step(2), float("inf"), 4))
    assert data["seconds"] == "inf"
    healed = from_json(data)
    assert isinstance(healed, StateHealed)
    assert healed.seconds == float("inf")


def test_a_later_versions_event_survives_as_it_is() -> None:
    data = {"type": "WorkerPromoted", "rank": 3, "nested": {"a": [1]}}
    event = from_json(data)
    assert event == UnknownEvent("WorkerPromoted", {"rank": 3, "nested": {"a": [1]}})
    assert to_json(event) == data


def test_a_later_versions_new_field_is_left_out() -> None:
    assert from_json({"type": "Warned", "place": "a", "text": "b", "colour": "red"}) == Warned("a", "b")


def test_an_earlier_versions_missing_field_gets_its_default() -> None:
    assert from_json({"type": "ActorExited", "path": "a", "incarnation": 1, "reason": "killed"}) == ActorExited(
        ActorPath("a"),
        Incarnation(1),
        "killed",
    )


@pytest.mark.parametrize(
    "data",
    [
        {"type": "Warned", "place": "a"},
        {"type": "Warned", "place": "a", "text": 3},
        {"type": "StepAborted", "step": "7", "generation": 1, "reason": ""},
        {"type": "StepAborted", "step": True, "generation": 1, "reason": ""},
        {"type": "StepAborted", "step": 2**80, "generation": 1, "reason": ""},
        {"type": "StopRequested", "by": "x", "now": 1},
        {"type": "RunFinished", "outcome": "vanished", "step": 1, "seconds": 1.0},
        {"type": "RunFinished", "outcome": "done", "step": 1, "seconds": "fast"},
        {"type": "RunFinished", "outcome": "done", "step": 1, "seconds": True},
        {"type": "RunFinished", "outcome": "done", "step": 1, "seconds": 10**400},
        {"type": "GenerationStarted", "generation": 1, "step": 1, "members": [[0]]},
        {"type": "GenerationStarted", "generation": 1, "step": 1, "members": 3},
        {},
    ],
)
def test_a_broken_event_is_kept_as_unknown_and_never_guessed(data: dict[str, object]) -> None:
    event = from_json(data)
    assert isinstance(event, UnknownEvent)
    assert to_json(event) == {"type": "", **data}


def test_lists_come_back_as_tuples() -> None:
    event = from_json({"type": "GenerationStarted", "generation": 1, "step": 1, "members": [[0, 1], [1, 2]]})
    assert event == GenerationStarted(Generation(1), Step(1), ((Rank(0), Incarnation(1)), (Rank(1), Incarnation(2))))


def test_an_integer_is_taken_where_a_float_is_meant() -> None:
    event = from_json({"type": "RunFinished", "outcome": "done", "step": 4, "seconds": 3})
    assert isinstance(event, RunFinished)
    assert isinstance(event.seconds, float)


def test_an_exit_status_may_be_absent() -> None:
    event = from_json({"type": "ActorExited", "path": "a", "incarnation": 1, "reason": "killed", "code": None})
    assert isinstance(event, ActorExited)
    assert event.code is None


def test_an_envelope_survives_a_round_trip() -> None:
    envelope = Envelope(7, 1700000000.25, ActorPath("root/journal"), Warned("a", "b"))
    assert envelope_from_json(json.loads(json.dumps(envelope_to_json(envelope)))) == envelope


def test_a_line_without_an_event_is_no_envelope() -> None:
    with pytest.raises(ValueError, match="no event"):
        envelope_from_json({"seq": 1, "t": 0.0})


def test_a_field_type_that_json_cannot_carry_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no JSON form for a field of type"):
        codec._check_for(set)


def test_the_journal_of_the_first_version_is_readable_for_ever() -> None:
    """The fixture holds one line of each type as the first version wrote it. Never regenerate it; only add lines."""
    lines = [json.loads(line) for line in FIRST_VERSION.read_text(encoding="utf-8").splitlines()]
    kinds = {type(envelope_from_json(line).event).__name__ for line in lines}
    assert kinds >= set(KNOWN)
    assert "UnknownEvent" not in kinds


def test_step_committed_reads_its_owners() -> None:
    owners = (Rank(0), Rank(1))
    committed = StepCommitted(Step(3), Generation(1), Cursor(64), 32, True, 2.5, 10, 1.0, 1e-3, 0.5, owners=owners)
    event = from_json(to_json(committed))
    assert isinstance(event, StepCommitted)
    assert event.owners == owners
