"""The permanent line for a fact that a person should know, for a terminal and a log file alike. Pure.

One entry per kind of fact; a kind without one is not worth a line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from console.state.figures import clean, count, duration, harmless, shortened, size, some
from runtime.events import (
    ActorExited,
    AlarmAcknowledged,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointRequested,
    CheckpointWritten,
    DataSuspected,
    DeviceSuspected,
    Envelope,
    EvaluationFinished,
    GenerationStarted,
    GradientClipped,
    KillRequested,
    LossScaleChanged,
    MicroBatchHalved,
    PauseRequested,
    ReplicaDrifted,
    RestartPlanned,
    RestartRequested,
    ResumeRequested,
    RolledBack,
    RunPaused,
    RunStarted,
    RunState,
    SampleGenerated,
    ShardsMoved,
    StateHealed,
    StepAborted,
    StepCommitted,
    StopRequested,
    SupervisorGaveUp,
    Warned,
    WorkerAdded,
    WorkerHung,
    WorkerJoined,
    WorkerLost,
    WorkerRemoved,
    WorkerRetired,
)

Tone: TypeAlias = Literal["good", "bad", "plain"]

_SAMPLES_A_STEP = 3
_TAIL_LINES = 12
_BAD = (
    WorkerLost, WorkerHung, WorkerRetired, ActorExited, SupervisorGaveUp, CheckpointFailed, CheckpointRejected,
    RolledBack, MicroBatchHalved, ReplicaDrifted, DeviceSuspected, DataSuspected, Warned,
)  # fmt: skip
_GOOD = (CheckpointWritten, EvaluationFinished, StateHealed)


def line_of(envelope: Envelope, state: RunState) -> str:
    """The line (for a supervisor that gave up, with the last words below it) for this fact; empty where it needs none.

    Whatever the fact's texts hold, the lines hold nothing that could steer a terminal.
    """
    event = envelope.event
    words = _WORDS.get(type(event))
    line = clean(words(event, state)) if words is not None else ""
    if isinstance(event, SupervisorGaveUp):
        last_words = event.tail.strip().splitlines()[-_TAIL_LINES:]
        return "\n".join([line, *(f"    | {harmless(said)}".rstrip() for said in last_words)])
    return line


def tone_of(envelope: Envelope) -> Tone:
    """Whether the fact is bad or good news; colour is never the only sign, so this may be ignored."""
    if isinstance(envelope.event, _BAD):
        return "bad"
    return "good" if isinstance(envelope.event, _GOOD) else "plain"


def _run_started(event: RunStarted, state: RunState) -> str:
    begins = f"resumed from {event.resumed_from}" if event.resumed_from else "begins"
    model = f", {event.model}" if event.model else ""
    size_of_model = f", {count(event.parameters)} parameters" if event.parameters else ""
    if 0 < event.trained_parameters < event.parameters:
        size_of_model += f" ({count(event.trained_parameters)} trained)"
    workers = some(event.workers, "worker")
    steps = f"steps {event.first_step} to {event.last_step}"
    return (
        f"run {event.name} {begins}: {workers}, {steps}, {event.samples_per_step} samples a step{model}{size_of_model}"
    )


def _stop_requested(event: StopRequested, state: RunState) -> str:
    if event.now:
        return f"stopping at once ({event.by})"
    return f"stopping ({event.by}): finishing the step and writing a checkpoint; once more stops at once"


def _warned(event: Warned, state: RunState) -> str:
    fix = f"; {event.fix}" if event.fix else ""
    return f"warning: {event.place}: {event.text}{fix}"


def _actor_exited(event: ActorExited, state: RunState) -> str:
    if event.expected:
        return ""
    detail = f" ({event.detail})" if event.detail else ""
    last = event.tail.strip().splitlines()[-1:]
    tail = f"; it said last: {shortened(last[0], 120)}" if last else ""
    return f"{event.path} exited: {event.reason}{detail}{tail}"


def _restart_planned(event: RestartPlanned, state: RunState) -> str:
    left = f"{some(event.restarts_left, 'more restart')} allowed"
    return f"{event.path} restarts in {duration(event.delay_seconds)} ({left})"


def _restart_requested(event: RestartRequested, state: RunState) -> str:
    return f"{event.path} is started anew ({event.by})"


def _kill_requested(event: KillRequested, state: RunState) -> str:
    return f"{event.path} is killed ({event.by})"


def _pause_requested(event: PauseRequested, state: RunState) -> str:
    return f"pausing ({event.by}): finishing the step"


def _run_paused(event: RunPaused, state: RunState) -> str:
    return f"paused after step {event.step} ({event.by})"


def _resume_requested(event: ResumeRequested, state: RunState) -> str:
    return f"going on ({event.by})"


def _checkpoint_requested(event: CheckpointRequested, state: RunState) -> str:
    return f"a checkpoint is asked for ({event.by})"


def _acknowledged(event: AlarmAcknowledged, state: RunState) -> str:
    return f"alarm seen by {event.by}: {event.key}"


def _gave_up(event: SupervisorGaveUp, state: RunState) -> str:
    return f"{event.path} gave up: {event.cause}"


def _worker_joined(event: WorkerJoined, state: RunState) -> str:
    where = ", ".join(part for part in (event.host, event.device, f"pid {event.pid}" if event.pid else "") if part)
    joined = "joined" if event.incarnation <= 1 else "is back"
    return f"worker {event.rank} {joined}" + (f" ({where})" if where else "")


def _worker_added(event: WorkerAdded, state: RunState) -> str:
    return f"worker {event.rank} was added ({event.by}); it joins at a step boundary"


def _worker_removed(event: WorkerRemoved, state: RunState) -> str:
    return f"worker {event.rank} is removed ({event.by}); the others take over its part"


def _worker_lost(event: WorkerLost, state: RunState) -> str:
    return f"worker {event.rank} lost: {event.reason} (noticed after {duration(event.detected_after_seconds)})"


def _worker_hung(event: WorkerHung, state: RunState) -> str:
    quiet = f"quiet for {duration(event.quiet_seconds)}, limit {duration(event.limit_seconds)}"
    return f"worker {event.rank} hung in {event.phase}: {quiet}; it is replaced"


def _micro_batch_halved(event: MicroBatchHalved, state: RunState) -> str:
    if event.rows == event.rows_before:
        return f"worker {event.rank} has no memory for a single row at step {event.step} ({event.reason})"
    rows = f"{some(event.rows_before, 'row')} at once become {event.rows}"
    return f"worker {event.rank} ran out of memory at step {event.step} ({event.reason}); {rows}, same samples"


def _replica_drifted(event: ReplicaDrifted, state: RunState) -> str:
    then = "it gets theirs" if event.expected_hash else "nobody knows who is right"
    differs = f"its parameters after step {event.step} are not the others'"
    return f"worker {event.rank} drifted: {differs} ({event.parameter_hash[:12]}); {then}"


def _worker_retired(event: WorkerRetired, state: RunState) -> str:
    return f"worker {event.rank} left for good: {event.reason}"


def _generation_started(event: GenerationStarted, state: RunState) -> str:
    if event.generation <= 1:
        return ""
    reason = f" ({event.reason})" if event.reason else ""
    members = _workers([rank for rank, _ in event.members])
    return f"generation {event.generation} goes on at step {event.step} with {members}{reason}"


def _workers(ranks: Sequence[int]) -> str:
    """`worker 0`, `workers 0, 2`, `no worker`."""
    if not ranks:
        return "no worker"
    return f"worker{'' if len(ranks) == 1 else 's'} {', '.join(str(rank) for rank in ranks)}"


def _state_healed(event: StateHealed, state: RunState) -> str:
    origin = f" from {_workers(event.sources)}" if event.sources else ""
    what = f"received the state of step {event.step}{origin}"
    return f"worker {event.rank} {what} ({size(event.size_bytes)} in {duration(event.seconds)})"


def _step_committed(event: StepCommitted, state: RunState) -> str:
    return "" if event.applied else f"step {event.step} skipped: its gradient was not finite"


def _step_aborted(event: StepAborted, state: RunState) -> str:
    return f"step {event.step} is done again: {event.reason}"


def _shards_moved(event: ShardsMoved, state: RunState) -> str:
    fastest = max((speed for _, speed in event.speeds), default=0.0)
    speeds = {rank: f" at {speed / fastest:.0%} of the fastest" for rank, speed in event.speeds if fastest > 0}
    parts = [f"worker {rank} computes {count}{speeds.get(rank, '')}" for rank, count in event.after]
    return f"shards divided by speed from step {event.step} on: {', '.join(parts)}"


def _rolled_back(event: RolledBack, state: RunState) -> str:
    back = f"rolled back from step {event.from_step} to {event.to_step}: {event.reason}"
    if not event.passed_over:
        return back
    samples = f"samples {event.state_cursor} to {event.cursor - 1} are passed over"
    rate = f"the learning rate is {event.rate_factor:g} of the schedule's for {some(event.rate_updates, 'update')}"
    return f"{back}; {samples}, and {rate}"


def _gradient_clipped(event: GradientClipped, state: RunState) -> str:
    norms = f"{event.grad_norm:.4g} to {event.clipped_to:.4g}"
    return f"step {event.step}: gradient norm clipped from {norms} ({event.zscore:.1f} deviations above the mean)"


def _loss_scale_changed(event: LossScaleChanged, state: RunState) -> str:
    return f"step {event.step}: {event.reason}; the loss scale is {event.after:g} now, {event.before:g} before"


def _device_suspected(event: DeviceSuspected, state: RunState) -> str:
    what = f"computed bad numbers at step {event.step}, another worker good ones from the same samples"
    return f"worker {event.rank} {what} ({event.times} of {event.most} times; then it leaves)"


def _data_suspected(event: DataSuspected, state: RunState) -> str:
    return f"step {event.step}: {event.reason}, and another worker finds the same: it is the data, not the device"


def _evaluation_finished(event: EvaluationFinished, state: RunState) -> str:
    accuracy = f", {event.token_accuracy:.1%} of tokens right"
    scores = "".join(f"; {name} {value:.4g}" for name, value in event.metrics if "/" not in name)
    tokens = f"{count(event.tokens)} tokens{accuracy}"
    return f"{event.split} loss {event.loss:.4f} after step {event.step} ({tokens}){scores}"


def _sample_generated(event: SampleGenerated, state: RunState) -> str:
    training = state.training
    for samples in (training.samples_before, training.samples_after):
        prompts = [sample.prompt for sample in samples if sample.step == event.step]
        if event.prompt in prompts[:_SAMPLES_A_STEP]:
            prompt, answer, expected = (shortened(text, 60) for text in (event.prompt, event.answer, event.expected))
            return f'sample after step {event.step}: "{prompt}" -> "{answer}" (expected "{expected}")'
    return ""


def _checkpoint_written(event: CheckpointWritten, state: RunState) -> str:
    return f"checkpoint {event.path} ({size(event.size_bytes)} in {duration(event.seconds)})"


def _checkpoint_failed(event: CheckpointFailed, state: RunState) -> str:
    return f"checkpoint of step {event.step} failed: {event.reason}; the earlier ones stand"


def _checkpoint_rejected(event: CheckpointRejected, state: RunState) -> str:
    return f"checkpoint {event.path} rejected: {event.reason}"


_WORDS: dict[type, Callable[[Any, RunState], str]] = {
    RunStarted: _run_started,
    StopRequested: _stop_requested,
    Warned: _warned,
    RestartRequested: _restart_requested,
    KillRequested: _kill_requested,
    PauseRequested: _pause_requested,
    RunPaused: _run_paused,
    ResumeRequested: _resume_requested,
    CheckpointRequested: _checkpoint_requested,
    AlarmAcknowledged: _acknowledged,
    ActorExited: _actor_exited,
    RestartPlanned: _restart_planned,
    SupervisorGaveUp: _gave_up,
    WorkerAdded: _worker_added,
    WorkerRemoved: _worker_removed,
    WorkerJoined: _worker_joined,
    WorkerLost: _worker_lost,
    WorkerHung: _worker_hung,
    MicroBatchHalved: _micro_batch_halved,
    ReplicaDrifted: _replica_drifted,
    WorkerRetired: _worker_retired,
    GradientClipped: _gradient_clipped,
    LossScaleChanged: _loss_scale_changed,
    DeviceSuspected: _device_suspected,
    DataSuspected: _data_suspected,
    GenerationStarted: _generation_started,
    StateHealed: _state_healed,
    StepCommitted: _step_committed,
    StepAborted: _step_aborted,
    ShardsMoved: _shards_moved,
    RolledBack: _rolled_back,
    EvaluationFinished: _evaluation_finished,
    SampleGenerated: _sample_generated,
    CheckpointWritten: _checkpoint_written,
    CheckpointFailed: _checkpoint_failed,
    CheckpointRejected: _checkpoint_rejected,
}
