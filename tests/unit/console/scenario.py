"""A short run with everything in it: a killed worker, a skipped step, a checkpoint, evaluations, samples, an end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from console.cli.progress import Progress
from runtime.events import (
    ActorExited,
    ActorReady,
    ActorStarting,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointRequested,
    CheckpointStarted,
    CheckpointWritten,
    Envelope,
    EvaluationFinished,
    Event,
    GenerationStarted,
    KillRequested,
    PauseRequested,
    RestartPlanned,
    ResumeRequested,
    RolledBack,
    RunFinished,
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
    WorkerHung,
    WorkerJoined,
    WorkerLost,
    fold,
)
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step

WORKER = ActorPath("root/node/worker-1")
COMMAND = "mlx-distributed run quickstart.toml"
ONE = Incarnation(1)


def started(first_step: int = 1, **changes: object) -> RunStarted:
    fields: dict[str, Any] = {
        "name": "quickstart",
        "workers": 2,
        "first_step": first_step,
        "last_step": 40,
        "samples_per_step": 32,
        "config_hash": "c0ffee",
        "model": "llama",
        "parameters": 1_234_567,
        "command": COMMAND,
        **changes,
    }
    return RunStarted(**fields)


def commit(step: int, loss: float, *, applied: bool = True) -> StepCommitted:
    return StepCommitted(Step(step), Generation(1), Cursor(step * 32 - 32), 32, applied, loss, 1200, 1.0, 1e-3, 0.5)


def sample(step: int, prompt: str, expected: str, answer: str) -> SampleGenerated:
    return SampleGenerated(Step(step), prompt, expected, answer)


def story() -> Iterator[tuple[float, Event]]:
    """(seconds since the last fact, fact)"""
    yield 0, started()
    yield 0, ActorStarting(WORKER, ONE)
    yield 2, ActorReady(WORKER, ONE, 102, "mac0", "cpu", 2.0)
    yield 0, WorkerJoined(Rank(0), ONE, Step(0), 101, "mac0", "cpu")
    yield 0.1, WorkerJoined(Rank(1), ONE, Step(0), 102, "mac0", "cpu")
    yield 0, GenerationStarted(Generation(1), Step(1), ((Rank(0), ONE), (Rank(1), ONE)), "start")
    yield 1, EvaluationFinished(Step(0), "held-out", 5.61, 8123, 0.004, 1.0)
    for prompt, expected in (("2 + 3", "5"), ("sort: b a", "a b"), ("days in a week", "7"), ("1 + 1", "2")):
        yield 0, sample(0, prompt, expected, "\x1b[31m\u00fc\u00fc" + prompt[:2])
    for step in range(1, 20):
        yield 0.5, commit(step, 5.6 - step * 0.1)
    yield 0, ActorExited(WORKER, ONE, "killed", "SIGKILL", -9, "Traceback\nboom\n")
    yield 0, RestartPlanned(WORKER, 1, 0.5, 2)
    yield 0, WorkerLost(Rank(1), ONE, "killed by SIGKILL", 0.004)
    yield 0, StepAborted(Step(20), Generation(1), "worker 1 was lost")
    yield 0, GenerationStarted(Generation(2), Step(20), ((Rank(0), ONE),), "worker 1 lost")
    yield 1, commit(20, 3.5)
    yield 0, CheckpointStarted(Step(20))
    yield 0.2, CheckpointWritten(Step(20), "checkpoints/step-00000020", 12_345_678, 0.2, "ab12")
    yield 1, WorkerJoined(Rank(1), Incarnation(2), Step(0), 103, "mac0", "cpu")
    yield 0.1, StateHealed(Rank(1), Step(20), 0.1, 4_100_000, (Rank(0),))
    yield 0, GenerationStarted(Generation(3), Step(21), ((Rank(0), ONE), (Rank(1), Incarnation(2))), "worker 1 joined")
    yield 0.5, commit(21, float("nan"), applied=False)
    yield 0, Warned("data/train.jsonl:17", "not a sample:\n\x07 no field `output`", "it is in data/quarantine.jsonl")
    for step in range(22, 41):
        yield 0.5, commit(step, 5.6 - step * 0.1)
    yield 1, EvaluationFinished(Step(40), "held-out", 1.9, 8123, 0.61, 1.0)
    for prompt, expected in (("2 + 3", "5"), ("sort: b a", "a b"), ("days in a week", "7"), ("1 + 1", "2")):
        yield 0, sample(40, prompt, expected, expected)
    yield 0.3, CheckpointWritten(Step(40), "checkpoints/step-00000040", 12_345_678, 0.25, "ab34")
    yield 0, RunFinished("done", Step(40), 28.7)


def troubled() -> Iterator[tuple[float, Event]]:
    """A run that meets everything else, and gives up."""
    yield 0, started(21, resumed_from="checkpoints/step-00000020", parameters=0, model="", workers=1)
    yield 0, CheckpointRejected("checkpoints/step-00000040", "hash of model.safetensors differs")
    yield 1, WorkerJoined(Rank(0), ONE, Step(20))
    yield 0, GenerationStarted(Generation(1), Step(21), ((Rank(0), ONE),))
    yield 1, commit(21, 3.4)
    yield (
        0,
        ShardsMoved(Step(22), ((Rank(0), 16),), ((Rank(0), 11), (Rank(1), 5)), ((Rank(0), 900.0), (Rank(1), 450.0))),
    )
    yield 1, RolledBack(Step(21), Step(20), "loss spike")
    yield 1, CheckpointFailed(Step(20), "no space left on device")
    yield 20, WorkerHung(Rank(0), ONE, "compute", 20.5, 20.0)
    yield 0, ActorExited(WORKER, ONE, "normal", expected=True)
    yield 0, GenerationStarted(Generation(2), Step(21), ())
    yield 0, StateHealed(Rank(0), Step(20), 0.1, 400, ())
    yield 0, SupervisorGaveUp(ActorPath("root/node"), "worker-1 crashed 4 times in 300 s", "Traceback\n  MemoryError\n")
    yield 0, PauseRequested("kim")
    yield 0, RunPaused(Step(20), "kim")
    yield 0, CheckpointRequested("kim")
    yield 0, ResumeRequested("kim")
    yield 0, KillRequested(ActorPath("root/coordinator"), "kim")
    yield 0, StopRequested("SIGINT")
    yield 0, StopRequested("SIGINT", now=True)
    yield 0, RunFinished("gave_up", Step(20), 25.0, "worker-1 crashed 4 times in 300 s")


def enveloped(facts: Iterable[tuple[float, Event]]) -> Iterator[Envelope]:
    now_seconds = 1_700_000_000.0
    for seq, (later_seconds, fact) in enumerate(facts, 1):
        now_seconds += later_seconds
        yield Envelope(seq, now_seconds, ActorPath("root"), fact)


def shown(progress: Progress, facts: Iterable[tuple[float, Event]]) -> RunState:
    """Drive `progress` through the facts and close it; the state at the end."""
    state = RunState()
    for envelope in enveloped(facts):
        state = fold(state, envelope)
        progress.update(envelope, state)
    progress.close(state)
    return state
