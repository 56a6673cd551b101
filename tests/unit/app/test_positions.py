"""Positions survive the pipe between root and coordinator, which carries JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runtime.app.positions import point_from_json, point_to_json, position_from_json, position_to_json
from runtime.cluster.messages import RestorePoint, Verdict
from runtime.cluster.signals import Position
from runtime.flow import CommittedStep
from runtime.ids import Cursor, Step

COUNTERS = st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=3)


def over_the_pipe(value: object) -> dict[str, object]:
    travelled: dict[str, object] = json.loads(json.dumps(value))
    return travelled


def committed() -> CommittedStep:
    return CommittedStep(Step(7), applied=True, tokens=321, loss_sum=401.25, grad_norm=0.1)


def test_a_position_arrives_with_the_verdict_that_led_to_it() -> None:
    at = Position(Step(7), Cursor(112), {"updates": 7.0}, Verdict(committed(), 3e-4, 7))
    assert position_from_json(over_the_pipe(position_to_json(at))) == at


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 50), COUNTERS)
def test_a_position_without_a_verdict_arrives_too(step: int, cursor: int, counters: dict[str, float]) -> None:
    at = Position(Step(step), Cursor(cursor), counters)
    assert position_from_json(over_the_pipe(position_to_json(at))) == at


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 50), st.text(max_size=20), COUNTERS)
def test_a_restore_point_arrives_as_it_left(step: int, cursor: int, path: str, counters: dict[str, float]) -> None:
    point = RestorePoint(Step(step), Cursor(cursor), path, counters)
    assert point_from_json(over_the_pipe(point_to_json(point))) == point
