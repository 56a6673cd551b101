"""Facts about processes, workers and membership: who lives, who died of what, who computes with whom."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import ActorPath, Generation, Incarnation, Rank, Step


@dataclass(frozen=True, slots=True)
class SupervisorStarted:
    """A supervisor begins with this policy. The one without a parent (`run`) is the first fact of each root process."""

    path: ActorPath
    strategy: str
    """one_for_one, one_for_all or rest_for_one."""
    intensity: int
    """Failures within `period_seconds` that are answered with a restart; one more and it gives up."""
    period_seconds: float
    pid: int = 0
    host: str = ""


@dataclass(frozen=True, slots=True)
class ActorStarting:
    """A supervisor started a child and waits for its handshake."""

    path: ActorPath
    incarnation: Incarnation
    strategy: str = ""
    """For a child that supervises others itself: one_for_one, one_for_all or rest_for_one."""


@dataclass(frozen=True, slots=True)
class ActorReady:
    """The handshake is done: the child is up and serves."""

    path: ActorPath
    incarnation: Incarnation
    pid: int = 0
    """0 for an actor that lives in its supervisor's process."""
    host: str = ""
    device: str = ""
    seconds: float = 0.0
    """From start to handshake."""


@dataclass(frozen=True, slots=True)
class ActorExited:
    """A child is gone, for whatever reason; `expected` ones were told to go or had finished."""

    path: ActorPath
    incarnation: Incarnation
    reason: str
    """One word for the kind of exit: `normal`, `error`, `killed`, `hung`, ... (`runtime.actors.exit`)."""
    detail: str = ""
    """One line: the exception, or the signal's name."""
    code: int | None = None
    """Exit status of its process; negative for a signal."""
    tail: str = ""
    """The last lines that it wrote to stderr."""
    expected: bool = False
    step: int = 0
    """A worker: the step that it was in when it was last heard of; 0 where it never said so."""
    phase: str = ""
    """A worker: what it did then: `load`, `feed`, `compute`, `exchange`, `vote`, `apply`, ..."""


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Somebody asked for a new incarnation of a child; where it was killed for that, its death counts as no failure."""

    path: ActorPath
    by: str


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Somebody asked for a process to be killed at once; its supervisor counts that as a failure, and restarts it."""

    path: ActorPath
    by: str


@dataclass(frozen=True, slots=True)
class WorkerAdded:
    """Somebody asked for one more worker, and its process is up; it joins at a step boundary."""

    rank: Rank
    by: str


@dataclass(frozen=True, slots=True)
class WorkerRemoved:
    """Somebody asked for one worker less: it is told to end, and the others take over its part of the step."""

    rank: Rank
    by: str


@dataclass(frozen=True, slots=True)
class SpareReady:
    """A process without a rank has everything loaded, and waits to take the place of a dead worker."""

    pid: int
    seconds: float = 0.0
    """From its start until it was ready."""


@dataclass(frozen=True, slots=True)
class SpareLost:
    """A spare ended before anybody needed it."""

    pid: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RestartPlanned:
    """A supervisor will start the child again after a delay."""

    path: ActorPath
    attempt: int
    delay_seconds: float
    restarts_left: int
    """How many more within the period before the supervisor gives up."""


@dataclass(frozen=True, slots=True)
class SupervisorGaveUp:
    """A restart limit was passed, or a child could not start at all."""

    path: ActorPath
    """The supervisor that gave up."""
    cause: str
    tail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """The coordinator took a worker in; it computes from the next generation on."""

    rank: Rank
    incarnation: Incarnation
    state_step: Step
    """The step whose parameters it holds."""
    pid: int = 0
    host: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The coordinator counts a worker as gone."""

    rank: Rank
    incarnation: Incarnation
    reason: str
    detected_after_seconds: float = 0.0
    """From the last sign of life (or the exit, where that is known) to this fact."""


@dataclass(frozen=True, slots=True)
class WorkerHung:
    """A worker made no progress for longer than its limit; it will be killed and replaced."""

    rank: Rank
    incarnation: Incarnation
    phase: str
    quiet_seconds: float
    limit_seconds: float


@dataclass(frozen=True, slots=True)
class GenerationStarted:
    """The membership changed: from now on only messages of this generation count."""

    generation: Generation
    step: Step
    """The step that is computed first (or again) with these members."""
    members: tuple[tuple[Rank, Incarnation], ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StateHealed:
    """A newcomer received the parameters and optimizer state from its peers."""

    rank: Rank
    step: Step
    seconds: float
    size_bytes: int
    sources: tuple[Rank, ...] = ()
