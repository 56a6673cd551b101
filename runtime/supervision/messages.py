"""What goes into the supervisor's core (events and commands) and what comes out of it (actions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from runtime.actors.exit import Exit
from runtime.supervision.spec import ChildSpec


@dataclass(frozen=True)
class Begin:
    """Event: start the children."""


@dataclass(frozen=True)
class Started:
    """Event: the child said that it is ready."""

    id: str
    incarnation: int


@dataclass(frozen=True)
class Ended:
    """Event: nothing of this incarnation runs any more."""

    id: str
    incarnation: int
    exit: Exit


@dataclass(frozen=True)
class Suspect:
    """Event: a detector judges this incarnation hung: kill it, and count that as its failure."""

    id: str
    incarnation: int
    why: str


@dataclass(frozen=True)
class AddChild:
    """Command: a new last child. If it cannot start it is dropped, and the others go on."""

    spec: ChildSpec

    @property
    def id(self) -> str:
        """The new child's id."""
        return self.spec.id


@dataclass(frozen=True)
class StopChild:
    """Command: stop the child and leave it stopped; with `forget`, remove it."""

    id: str
    forget: bool = False


@dataclass(frozen=True)
class RestartChild:
    """Command: start it anew (with those that the strategy ties to it), at no cost to the restart limit."""

    id: str


@dataclass(frozen=True)
class StopAll:
    """Command: end in order; with `hurry`, without any grace."""

    hurry: bool = False


@dataclass(frozen=True)
class Tick:
    """Event: the time that was asked for has come."""


Event: TypeAlias = Begin | Started | Ended | Suspect | AddChild | StopChild | RestartChild | StopAll | Tick


@dataclass(frozen=True)
class Start:
    """Action: run a new incarnation of the child."""

    id: str
    incarnation: int


@dataclass(frozen=True)
class Stop:
    """Action: ask the child to stop, cancel it after the grace. May come again with grace 0 when there is a hurry."""

    id: str
    incarnation: int
    grace_seconds: float


@dataclass(frozen=True)
class Plan:
    """Action: tell the world that this child will be restarted."""

    id: str
    incarnation: int
    attempt: int
    delay_seconds: float
    left: int
    """Failures that may still come within the period."""
    collateral: bool
    """The failure follows from another child's and was not counted."""
    exit: Exit


@dataclass(frozen=True)
class WakeAt:
    """Action: feed a Tick at this time."""

    at: float


Verdict: TypeAlias = Literal["shutdown", "finished", "significant", "start_failed", "fatal", "limit", "interrupted"]


@dataclass(frozen=True)
class Finish:
    """Action, the last one: the supervisor ends; nothing of it is alive."""

    ok: bool
    verdict: Verdict
    id: str | None = None
    exit: Exit | None = None


Action: TypeAlias = Start | Stop | Plan | WakeAt | Finish
