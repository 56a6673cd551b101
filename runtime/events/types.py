"""Every fact that the runtime states, on one page, and the envelope that carries it.

An event is a past-tense fact: frozen, with units in its field names, true for ever. It never asks for anything.
They live in five files by subject; whoever publishes or folds them imports from `runtime.events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runtime.events.numerics import (
    DataSuspected,
    DeviceMeasured,
    DeviceSuspected,
    GradientClipped,
    LossScaleChanged,
    MicroBatchHalved,
    ReplicaDrifted,
    WorkerRetired,
)
from runtime.events.run import (
    AlarmAcknowledged,
    CheckpointRequested,
    PauseRequested,
    ResumeRequested,
    RunFinished,
    RunPaused,
    RunStarted,
    StopRequested,
    Warned,
)
from runtime.events.saving import (
    CheckpointFailed,
    CheckpointRejected,
    CheckpointRemoved,
    CheckpointStarted,
    CheckpointWritten,
)
from runtime.events.supervision import (
    ActorExited,
    ActorReady,
    ActorStarting,
    GenerationStarted,
    KillRequested,
    RestartPlanned,
    RestartRequested,
    SpareLost,
    SpareReady,
    StateHealed,
    SupervisorGaveUp,
    SupervisorStarted,
    WorkerAdded,
    WorkerHung,
    WorkerJoined,
    WorkerLost,
    WorkerRemoved,
)
from runtime.events.training import (
    EvaluationFinished,
    RolledBack,
    SampleGenerated,
    ShardsMoved,
    StepAborted,
    StepCommitted,
)
from runtime.ids import ActorPath


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """A fact that this version cannot read: a later version's, or one with a field broken. It survives a round trip."""

    type: str
    fields: dict[str, Any] = field(default_factory=dict, hash=False)


Known: TypeAlias = (
    RunStarted | StopRequested | RunFinished | Warned | AlarmAcknowledged
    | PauseRequested | RunPaused | ResumeRequested | CheckpointRequested | KillRequested
    | SupervisorStarted | RestartRequested
    | ActorStarting | ActorReady | ActorExited | RestartPlanned | SupervisorGaveUp | SpareReady | SpareLost
    | WorkerAdded | WorkerRemoved
    | WorkerJoined | WorkerLost | WorkerHung | GenerationStarted | StateHealed
    | StepCommitted | StepAborted | ShardsMoved | RolledBack | EvaluationFinished | SampleGenerated
    | DeviceMeasured | MicroBatchHalved | ReplicaDrifted | WorkerRetired | GradientClipped | LossScaleChanged
    | DeviceSuspected | DataSuspected
    | CheckpointStarted | CheckpointWritten | CheckpointFailed | CheckpointRejected | CheckpointRemoved
)  # fmt: skip
Event: TypeAlias = Known | UnknownEvent


@dataclass(frozen=True, slots=True)
class Envelope:
    """One fact with its place in the journal."""

    seq: int
    """1, 2, 3, ... without a gap over the whole life of the run folder, resumptions included."""
    wall_seconds: float
    """Unix time at the root when it took the fact in; may step back when the clock is set."""
    path: ActorPath
    """The actor that states it."""
    event: Event
