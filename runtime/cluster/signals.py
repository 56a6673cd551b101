"""What happens to the coordinator's core, and what it asks for: the two alphabets of its state machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from runtime import events as facts
from runtime.cluster.messages import FromWorker, Join, ToWorker, Verdict
from runtime.ids import Cursor, Step


class Phase(Enum):
    """Where the run is, as seen from the coordinator."""

    GATHERING = "gathering"
    RESTORING = "restoring"
    STEPPING = "stepping"
    EVALUATING = "evaluating"
    PAUSED = "paused"
    HELD = "held"
    """Somebody asked for a pause: everybody is there, has the committed state, and waits."""
    CLOSING = "closing"
    FINISHED = "finished"


@dataclass(frozen=True)
class Joined:
    """A worker opened a session."""

    session: int
    join: Join


@dataclass(frozen=True)
class Left:
    """A session ended, however."""

    session: int
    reason: str


@dataclass(frozen=True)
class Said:
    """A worker said something on its session."""

    session: int
    message: FromWorker


@dataclass(frozen=True)
class StopAsked:
    """Finish the step, save, and end the run."""

    by: str


@dataclass(frozen=True)
class PauseAsked:
    """Finish the step, then order no other until somebody asks to go on."""

    by: str


@dataclass(frozen=True)
class ResumeAsked:
    """The pause is over; without one it says nothing."""


@dataclass(frozen=True)
class SaveAsked:
    """Write a checkpoint of the next committed state; in a pause of the present one."""


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = Joined | Left | Said | StopAsked | PauseAsked | ResumeAsked | SaveAsked | Tick


@dataclass(frozen=True)
class Send:
    """Say this on that session."""

    session: int
    message: ToWorker


@dataclass(frozen=True)
class Close:
    """End that session: the worker joins anew, and says what it holds."""

    session: int


@dataclass(frozen=True)
class Publish:
    """Write this fact to the journal before anything that follows it in the list."""

    fact: facts.Event


@dataclass(frozen=True)
class WakeAt:
    """Feed a Tick at this time."""

    time: float


@dataclass(frozen=True)
class Finished:
    """The run is over."""

    outcome: str
    reason: str


Action: TypeAlias = Send | Close | Publish | WakeAt | Finished


GENERATION = "generation"
"""Counter: the generation that committed the state. Step and generation together name one state and no other."""
ROLLED_BACK = "rolled_back"
"""Counter: the last generation before the run went back; newer states that it committed are no part of the run."""


@dataclass
class Position:
    """The committed state, as numbers."""

    step: Step
    cursor: Cursor
    counters: dict[str, float] = field(default_factory=dict)
    verdict: Verdict | None = None
