"""What the facts add up to: everything that a screen shows, as one immutable value.

RunState   the whole; `runtime.events.fold` is the only way to make the next one
 |-- plan, outcome, sessions       the run and the root processes that drove it
 |-- actors, workers, members      who lives
 |-- training                      steps, curves, evaluations, samples
 |-- checkpoints, alarms, marks    what is safe, what is wrong, what to mark on a chart
 `-- notable                       the last facts worth a line

Nothing in it grows without bound, so that a console may hold one for weeks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from runtime.events.chain import Chain
from runtime.events.curve import Curve
from runtime.events.numerics import DeviceMeasured
from runtime.events.run import RunFinished, RunStarted
from runtime.events.saving import CheckpointWritten
from runtime.events.training import EvaluationFinished, SampleGenerated, StepCommitted
from runtime.events.types import Envelope
from runtime.ids import ActorPath, Generation, Incarnation, Rank

ActorStatus: TypeAlias = Literal["starting", "ready", "exited", "waiting", "gave_up"]
"""waiting: dead, and a restart is planned."""
WorkerPhase: TypeAlias = Literal["joined", "training", "hung", "lost", "leaving"]
"""leaving: somebody asked for it."""
Severity: TypeAlias = Literal["warning", "critical"]
Status: TypeAlias = Literal[
    "idle", "starting", "running", "pausing", "paused", "stopping", "done", "failed", "stopped", "gave_up"
]
"""pausing: somebody asked for it, and the step under way is being finished."""


@dataclass(frozen=True, slots=True)
class ActorRow:
    """One node of the supervision tree; its parent is the path without the last part."""

    path: ActorPath
    status: ActorStatus = "starting"
    incarnation: Incarnation = Incarnation(0)
    since_seconds: float = 0.0
    """Unix time of its last change."""
    restarts: int = 0
    """Unexpected exits in this session."""
    restarts_left: int | None = None
    """None until its supervisor has said it."""
    strategy: str = ""
    budget: int | None = None
    """A supervisor: how many failures it forgives within `period_seconds`; None until it has said it."""
    period_seconds: float = 0.0
    failures: tuple[float, ...] = ()
    """A supervisor: Unix times of the newest failures of its children that it answered with a restart, oldest first."""
    pid: int = 0
    host: str = ""
    device: str = ""
    reason: str = ""
    """Why it exited last, with the detail; empty while it never did."""
    tail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One slot of the run."""

    rank: Rank
    phase: WorkerPhase = "joined"
    incarnation: Incarnation = Incarnation(0)
    state_step: int = 0
    """The step whose parameters it had when it last joined or was healed."""
    losses: int = 0
    """How often the coordinator lost this slot in this session."""
    shards: int | None = None
    """How many logical shards it computes, where they are divided by speed; None: an equal part."""
    positions_per_second: float = 0.0
    """Its own computing, as measured when the shards were divided; 0: not measured yet."""
    since_seconds: float = 0.0
    pid: int = 0
    host: str = ""
    device: str = ""
    reason: str = ""


class StepPoint(NamedTuple):
    """One committed step, small: the last few hundred are kept."""

    step: int
    wall_seconds: float
    loss: float
    tokens: int
    grad_norm: float
    learning_rate: float
    seconds: float
    compute_seconds: float
    exchange_seconds: float
    feed_seconds: float
    applied: bool


@dataclass(frozen=True, slots=True)
class Training:
    """Steps and how good they are."""

    step: int = 0
    """The last committed step that still counts."""
    cursor: int = 0
    """Samples consumed after it."""
    first: StepPoint | None = None
    last: StepCommitted | None = None
    recent: Chain[StepPoint] = Chain(limit=256)
    loss: Curve = Curve()
    grad_norm: Curve = Curve()
    learning_rate: Curve = Curve()
    tokens_per_second: Curve = Curve()
    tokens_seen: Curve = Curve()
    """Trained tokens of the run after each step: what charts by tokens have below them."""
    committed_seconds: Curve = Curve()
    """Unix time of each commit: what charts by time have below them."""
    tokens: int = 0
    """Trained tokens of all commits that the journal carries, repeated ones included."""
    useful_tokens: int = 0
    computed_positions: int = 0
    """Of the same commits: how full the rows were."""
    committed: int = 0
    skipped: int = 0
    loss_scale: float = 0.0
    """What float16's loss is multiplied with; 0 until it first changed."""
    aborted: int = 0
    first_evaluations: Mapping[str, EvaluationFinished] = field(default_factory=dict)
    """By split."""
    evaluations: Chain[EvaluationFinished] = Chain(limit=1024)
    samples_before: tuple[SampleGenerated, ...] = ()
    """The answers of the first step that answered at all."""
    samples_after: tuple[SampleGenerated, ...] = ()
    """The answers of the newest one."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should know, until it is mended."""

    key: str
    """Two facts with the same key are one alarm."""
    severity: Severity
    place: str
    cause: str
    fix: str = ""
    since_seconds: float = 0.0
    seen: int = 1
    mended: bool = False
    """It healed by itself; shown dim."""


class Mark(NamedTuple):
    """A vertical line on the charts."""

    step: int
    kind: Literal["checkpoint", "lost", "joined", "resumed", "rollback", "skipped", "clipped"]
    text: str


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that a screen shows. Start from `RunState()`; `fold` gives the next one."""

    seq: int = 0
    """Of the last envelope folded in."""
    wall_seconds: float = 0.0
    plan: RunStarted | None = None
    """Of the newest session."""
    started_seconds: float = 0.0
    """Unix time of the newest session's start."""
    sessions: int = 0
    """Root processes that drove this run: 1 + resumptions."""
    stopping: str = ""
    """Who asked the newest session to stop."""
    pausing: str = ""
    """Who asked the newest session to pause; empty again when somebody asked to go on."""
    paused_step: int | None = None
    """Where the run stands; None while it does not."""
    resumed_seconds: float = 0.0
    """Unix time at which somebody last asked to go on; 0 while nobody did."""
    outcome: RunFinished | None = None
    actors: Mapping[ActorPath, ActorRow] = field(default_factory=dict)
    workers: Mapping[Rank, WorkerRow] = field(default_factory=dict)
    spares: frozenset[int] = frozenset()
    """Process ids of the spares that are ready to take a dead worker's place."""
    generation: Generation = Generation(0)
    members: tuple[tuple[Rank, Incarnation], ...] = ()
    restarts: int = 0
    """Unexpected exits of supervised children, over all sessions."""
    workers_lost: int = 0
    """Over all sessions."""
    training: Training = Training()
    writing_step: int | None = None
    """The step of the checkpoint that is being written."""
    checkpoints: tuple[CheckpointWritten, ...] = ()
    """On disk, oldest first."""
    written_seconds: Mapping[str, float] = field(default_factory=dict)
    """path -> Unix time, of those on disk."""
    devices: Mapping[Rank, DeviceMeasured] = field(default_factory=dict)
    """What each worker's device had to hold, in this session."""
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    acknowledged: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """Key of an alarm -> who has seen it, and when (Unix seconds)."""
    marks: Chain[Mark] = Chain(limit=256)
    notable: Chain[Envelope] = Chain(limit=512)
    unknown: int = 0
    """Facts that this version could not read."""

    @property
    def status(self) -> Status:
        """One word for the run. A journal cannot tell `running` from killed: ask the run's lock for that."""
        if self.plan is None:
            return "idle"
        if self.outcome is not None:
            return self.outcome.outcome
        if self.stopping:
            return "stopping"
        if self.pausing:
            return "pausing" if self.paused_step is None else "paused"
        return "running" if self.training.last is not None or self.members else "starting"

    def step_of(self, rank: Rank) -> int:
        """The step whose parameters that worker holds: the last commit for members, else what it joined with."""
        if any(member == rank for member, _ in self.members):
            return self.training.step
        row = self.workers.get(rank)
        return row.state_step if row else 0
