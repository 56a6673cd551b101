"""What happened: every fact of a run, frozen and in the past tense, how it is kept, and what it adds up to.

types    every event and its envelope (by subject: run, supervision, training, numerics, saving)
codec    events to JSON and back, readable across versions
state    RunState: everything that a screen shows (chain, curve: its bounded parts; pace: figures from it)
fold     the pure function from facts to state
journal  events.jsonl and its writer; replay reads it back
bus      numbers facts and hands them to whoever wants to know (trio: import it from runtime.events.bus)
"""

from runtime.events.codec import envelope_from_json, envelope_to_json, from_json, to_json
from runtime.events.fold import fold, fold_all
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
    Outcome,
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
from runtime.events.state import RunState
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
from runtime.events.types import Envelope, Event, Known, UnknownEvent

__all__ = [
    "Envelope",
    "Event",
    "Known",
    "UnknownEvent",
    # run
    "RunStarted",
    "StopRequested",
    "PauseRequested",
    "RunPaused",
    "ResumeRequested",
    "CheckpointRequested",
    "RunFinished",
    "Outcome",
    "Warned",
    "AlarmAcknowledged",
    # supervision
    "SupervisorStarted",
    "ActorStarting",
    "ActorReady",
    "ActorExited",
    "RestartPlanned",
    "RestartRequested",
    "KillRequested",
    "SupervisorGaveUp",
    "SpareReady",
    "SpareLost",
    "WorkerAdded",
    "WorkerRemoved",
    "WorkerJoined",
    "WorkerLost",
    "WorkerHung",
    "GenerationStarted",
    "StateHealed",
    # training
    "StepCommitted",
    "StepAborted",
    "ShardsMoved",
    "RolledBack",
    "EvaluationFinished",
    "SampleGenerated",
    # numerics
    "DeviceMeasured",
    "MicroBatchHalved",
    "ReplicaDrifted",
    "WorkerRetired",
    "GradientClipped",
    "LossScaleChanged",
    "DeviceSuspected",
    "DataSuspected",
    # saving
    "CheckpointStarted",
    "CheckpointWritten",
    "CheckpointFailed",
    "CheckpointRejected",
    "CheckpointRemoved",
    # codec
    "to_json",
    "from_json",
    "envelope_to_json",
    "envelope_from_json",
    # state
    "RunState",
    "fold",
    "fold_all",
]
