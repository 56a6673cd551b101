"""What a supervisor tells the world, as facts in the past tense or the present state; `path` is the child's full path.

They go out through `Context.emit` with everything else that actors publish; runtime/app turns them into journal events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from runtime.actors.exit import Exit
from runtime.ids import ActorPath, Incarnation


@dataclass(frozen=True)
class Starting:
    """A new incarnation was started; it is not ready yet."""

    path: ActorPath
    incarnation: Incarnation


@dataclass(frozen=True)
class Ready:
    """The incarnation works; `value` is what it passed to `ready` (a process: its Hello)."""

    path: ActorPath
    incarnation: Incarnation
    seconds: float
    """From start to ready."""
    value: object


@dataclass(frozen=True)
class Stopping:
    """The incarnation was asked to stop; it is cancelled after the grace."""

    path: ActorPath
    incarnation: Incarnation
    grace_seconds: float


@dataclass(frozen=True)
class Exited:
    """The incarnation is over, for whatever reason."""

    path: ActorPath
    incarnation: Incarnation
    exit: Exit
    asked: bool
    """Whether the supervisor had asked it to stop."""


@dataclass(frozen=True)
class RestartPlanned:
    """The child failed and will start again after `delay_seconds` (later if others must stop first)."""

    path: ActorPath
    incarnation: Incarnation
    """The one that failed."""
    attempt: int
    """Failures of this child in a row."""
    delay_seconds: float
    left: int
    """Failures that may still come within the period before the supervisor gives up."""
    collateral: bool
    """It fell with another child, so it was not counted."""
    reason: str


@dataclass(frozen=True)
class Stuck:
    """The incarnation still runs `seconds` after it was cancelled: it shields itself or blocks the thread.

    No supervisor can end it; the root's last resort is to end the process (the tether ends the rest).
    """

    path: ActorPath
    incarnation: Incarnation
    seconds: float


@dataclass(frozen=True)
class GivingUp:
    """The supervisor at `path` ends because of the child at `culprit`; the others have been stopped."""

    path: ActorPath
    culprit: ActorPath
    reason: str
    tail: str


Report: TypeAlias = Starting | Ready | Stopping | Exited | RestartPlanned | Stuck | GivingUp
