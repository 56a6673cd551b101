"""The one pure function from facts to what they add up to: fold(state, envelope) -> state.

It asks no clock, keeps nothing, and never raises on any order of valid facts: a journal may begin in the middle, have
holes, or tell of two root processes one after the other. An envelope that was folded in already changes nothing, so a
console may ask again for facts that it is not sure of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from runtime.events import fold_numerics, fold_supervision, fold_training
from runtime.events.alarms import mend, raise_alarm
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
from runtime.events.state import Mark, RunState
from runtime.events.supervision import ActorStarting, SpareReady, SupervisorStarted
from runtime.events.training import (
    EvaluationFinished,
    RolledBack,
    SampleGenerated,
    ShardsMoved,
    StepAborted,
    StepCommitted,
)
from runtime.events.types import Envelope, UnknownEvent
from runtime.ids import Generation

_RunFact: TypeAlias = RunStarted | StopRequested | RunFinished | Warned | AlarmAcknowledged
_PauseFact: TypeAlias = PauseRequested | RunPaused | ResumeRequested | CheckpointRequested
_SavingFact: TypeAlias = (
    CheckpointStarted | CheckpointWritten | CheckpointFailed | CheckpointRejected | CheckpointRemoved
)
_TrainingFact: TypeAlias = StepAborted | ShardsMoved | RolledBack | EvaluationFinished | SampleGenerated
_Told: TypeAlias = _RunFact | _PauseFact | _SavingFact | _TrainingFact
_Rest: TypeAlias = _Told | fold_supervision.Fact | fold_numerics.Fact | UnknownEvent
"""Everything but StepCommitted, which comes at every step and has its own short way."""

_MOST_CHECKPOINTS = 1024
_MOST_ACKNOWLEDGED = 256
_FREQUENT = (
    StepAborted,
    SampleGenerated,
    CheckpointStarted,
    SupervisorStarted,
    ActorStarting,
    SpareReady,
    DeviceMeasured,
    UnknownEvent,
)
"""Like commits, facts that come too often, or say too little, for the list of notable ones."""


def fold(state: RunState, envelope: Envelope) -> RunState:
    """The state after one more fact. Pure; costs a few tens of microseconds whatever the length of the run."""
    if envelope.seq <= state.seq:
        return state
    event = envelope.event
    if isinstance(event, StepCommitted):
        training = fold_training.committed(state.training, event, envelope.wall_seconds)
        marks = state.marks if event.applied else state.marks.append(Mark(event.step, "skipped", "not finite"))
        return replace(state, seq=envelope.seq, wall_seconds=envelope.wall_seconds, training=training, marks=marks)
    state = replace(state, seq=envelope.seq, wall_seconds=envelope.wall_seconds)
    if not isinstance(event, _FREQUENT):
        state = replace(state, notable=state.notable.append(envelope))
    return _folded(state, event)


def is_notable(envelope: Envelope) -> bool:
    """Whether the fact deserves a line in a list of events: a step that was skipped does, one that counts does not."""
    event = envelope.event
    return not event.applied if isinstance(event, StepCommitted) else not isinstance(event, _FREQUENT)


def fold_all(envelopes: Iterable[Envelope], state: RunState | None = None) -> RunState:
    """The state after all of them, from an empty one or from `state`."""
    state = state or RunState()
    for envelope in envelopes:
        state = fold(state, envelope)
    return state


def _folded(state: RunState, event: _Rest) -> RunState:
    match event:
        case RunStarted() | StopRequested() | RunFinished() | Warned() | AlarmAcknowledged():
            return _run(state, event)
        case PauseRequested() | RunPaused() | ResumeRequested() | CheckpointRequested():
            return _paused(state, event)
        case (
            CheckpointStarted() | CheckpointWritten() | CheckpointFailed() | CheckpointRejected() | CheckpointRemoved()
        ):
            return _saving(state, event)
        case StepAborted() | ShardsMoved() | RolledBack() | EvaluationFinished() | SampleGenerated():
            return _training(state, event)
        case (
            DeviceMeasured()
            | MicroBatchHalved()
            | ReplicaDrifted()
            | WorkerRetired()
            | GradientClipped()
            | LossScaleChanged()
            | DeviceSuspected()
            | DataSuspected()
        ):
            return fold_numerics.folded(state, event)
        case UnknownEvent():
            return replace(state, unknown=state.unknown + 1)
        case _:
            return fold_supervision.folded(state, event)


def _run(state: RunState, event: _RunFact) -> RunState:
    match event:
        case RunStarted():
            return _new_session(state, event)
        case StopRequested():
            return replace(state, stopping=event.by or "somebody")
        case RunFinished():
            finished = replace(state, outcome=event, members=(), writing_step=None, pausing="", paused_step=None)
            if event.outcome in {"failed", "gave_up"}:
                return raise_alarm(finished, "run", "run", event.reason or event.outcome, severity="critical")
            return finished
        case Warned():
            return raise_alarm(state, f"warned {event.place}", event.place, event.text, fix=event.fix)
        case AlarmAcknowledged():
            seen = {key: who for key, who in state.acknowledged.items() if key != event.key}
            seen[event.key] = event.by, state.wall_seconds
            return replace(state, acknowledged=dict(list(seen.items())[-_MOST_ACKNOWLEDGED:]))


def _paused(state: RunState, event: _PauseFact) -> RunState:
    match event:
        case PauseRequested():
            return replace(state, pausing=event.by or "somebody")
        case RunPaused():
            return replace(state, pausing=state.pausing or event.by or "somebody", paused_step=event.step)
        case ResumeRequested():
            return replace(state, pausing="", paused_step=None, resumed_seconds=state.wall_seconds)
        case CheckpointRequested():
            return state


def _new_session(state: RunState, event: RunStarted) -> RunState:
    """What the last root process knew of living things is void; what is on disk and on the curves stands."""
    resumed = state.sessions > 0 or bool(event.resumed_from)
    marks = state.marks.append(Mark(event.first_step - 1, "resumed", event.resumed_from)) if resumed else state.marks
    root = state.actors.get(fold_supervision.ROOT)
    lives = state.plan is None or (root is not None and root.pid == event.pid)  # whoever lives began before this fact
    return replace(
        state,
        plan=event,
        started_seconds=state.wall_seconds,
        sessions=state.sessions + 1,
        stopping="",
        pausing="",
        paused_step=None,
        resumed_seconds=0.0,
        outcome=None,
        actors=state.actors if lives else {},
        workers=state.workers if lives else {},
        generation=Generation(0),
        members=(),
        spares=state.spares if lives else frozenset(),
        writing_step=None,
        devices={},
        alarms=state.alarms if lives and state.plan is not None else {},
        marks=marks,
        training=fold_training.back_to(state.training, event.first_step - 1, cursor=event.cursor),
    )


def _training(state: RunState, event: _TrainingFact) -> RunState:
    match event:
        case RolledBack():
            state = replace(state, marks=state.marks.append(Mark(event.to_step, "rollback", event.reason)))
            place = f"step {event.from_step}"
            cause = f"rolled back to step {event.to_step}: {event.reason}"
            state = raise_alarm(state, "rollback", place, cause)
            cursor = event.cursor if event.cursor >= 0 else None
            training = fold_training.back_to(state.training, event.to_step, cursor)
            stands = state.writing_step is not None and state.writing_step <= event.to_step
            return replace(state, training=training, writing_step=state.writing_step if stands else None)
        case StepAborted():
            return replace(state, training=replace(state.training, aborted=state.training.aborted + 1))
        case ShardsMoved():
            return fold_supervision.divided(state, event)
        case EvaluationFinished():
            return replace(state, training=fold_training.evaluated(state.training, event))
        case SampleGenerated():
            return replace(state, training=fold_training.answered(state.training, event))


def _saving(state: RunState, event: _SavingFact) -> RunState:
    match event:
        case CheckpointStarted():
            return replace(state, writing_step=event.step)
        case CheckpointWritten():
            kept = tuple(each for each in state.checkpoints if each.path != event.path)[-_MOST_CHECKPOINTS:]
            marks = state.marks.append(Mark(event.step, "checkpoint", event.path))
            times = state.written_seconds
            known = {each.path: times[each.path] for each in kept if each.path in times}
            known[event.path] = state.wall_seconds
            state = replace(state, checkpoints=(*kept, event), written_seconds=known, marks=marks, writing_step=None)
            return mend(state, "checkpoint")
        case CheckpointFailed():
            cause = f"the checkpoint of step {event.step} was not written: {event.reason}"
            fix = "the earlier ones stand"
            state = replace(state, writing_step=None)
            return raise_alarm(state, "checkpoint", "checkpoints", cause, fix=fix, severity="critical")
        case CheckpointRejected():
            kept = tuple(each for each in state.checkpoints if each.path != event.path)
            state = replace(state, checkpoints=kept)
            return raise_alarm(state, f"rejected {event.path}", event.path, event.reason)
        case CheckpointRemoved():
            return replace(state, checkpoints=tuple(each for each in state.checkpoints if each.path != event.path))
