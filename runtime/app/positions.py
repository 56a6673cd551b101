"""Positions and restore points as JSON, for the frames between the root and the coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from runtime.cluster.messages import RestorePoint, Verdict
from runtime.cluster.signals import Position
from runtime.flow import CommittedStep
from runtime.ids import Cursor, Step


def position_to_json(at: Position) -> dict[str, Any]:
    """A committed position, complete with the verdict that led to it."""
    return asdict(at)


def position_from_json(data: Mapping[str, Any]) -> Position:
    """The position that `position_to_json` wrote."""
    verdict = None
    if data["verdict"] is not None:
        said = data["verdict"]
        verdict = Verdict(CommittedStep(**said["committed"]), said["learning_rate"], said["update"])
    return Position(Step(data["step"]), Cursor(data["cursor"]), dict(data["counters"]), verdict)


def point_to_json(point: RestorePoint) -> dict[str, Any]:
    """A restore point."""
    return {"step": point.step, "cursor": point.cursor, "path": point.path, "counters": dict(point.counters)}


def point_from_json(data: Mapping[str, Any]) -> RestorePoint:
    """The restore point that `point_to_json` wrote."""
    return RestorePoint(Step(data["step"]), Cursor(data["cursor"]), data["path"], dict(data["counters"]))
