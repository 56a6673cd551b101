"""Facts and pictures for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.events import (
    ActorReady,
    ActorStarting,
    Envelope,
    Event,
    GenerationStarted,
    RunStarted,
    RunState,
    StepCommitted,
    SupervisorStarted,
    WorkerJoined,
    fold_all,
)
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from runtime.view.build import view_of
from runtime.view.cards import AlarmCard
from runtime.view.gauges import Gauges
from runtime.view.rules import Situation, found_alarms

RUN, NODE, WORKER = ActorPath("run"), ActorPath("run/node"), ActorPath("run/node/worker-1")
ONE = Incarnation(1)
BEGAN = 1000.0


def after(facts: Iterable[Event], state: RunState | None = None, *, apart_seconds: float = 1.0) -> RunState:
    """The state after these facts; the first comes at BEGAN seconds, or after the last one."""
    first = (state.seq if state else 0) + 1
    begin = (state.wall_seconds if state else BEGAN - apart_seconds) + apart_seconds
    told = (Envelope(first + n, begin + n * apart_seconds, RUN, fact) for n, fact in enumerate(facts))
    return fold_all(told, state)


def commit(step: int, loss: float = 2.0, seconds: float = 1.0, **changes: Any) -> StepCommitted:
    return StepCommitted(
        **{
            **{"step": Step(step), "generation": Generation(1), "cursor": Cursor(step * 4 - 4), "samples": 4},
            **{"applied": True, "loss": loss, "tokens": 100, "grad_norm": 1.0, "learning_rate": 0.1},
            **{"seconds": seconds, "compute_seconds": seconds * 0.5, **changes},
        }
    )


def begun(workers: int = 2) -> list[Event]:
    """A run whose workers train."""
    ranks = [Rank(rank) for rank in range(workers)]
    return [
        SupervisorStarted(RUN, "one_for_one", 3, 60.0, 7, "mac0"),
        SupervisorStarted(NODE, "one_for_one", 3, 60.0, 7, "mac0"),
        *(ActorStarting(ActorPath(f"run/node/worker-{rank}"), ONE) for rank in ranks),
        *(ActorReady(ActorPath(f"run/node/worker-{rank}"), ONE, 100 + rank, "mac0", "cpu") for rank in ranks),
        RunStarted("quick", workers, Step(1), Step(100), 4, "c0ffee", pid=7, host="mac0", samples=50, command="go on"),
        *(WorkerJoined(rank, ONE, Step(0), 100 + rank, "mac0", "cpu") for rank in ranks),
        GenerationStarted(Generation(1), Step(1), tuple((rank, ONE) for rank in ranks)),
    ]


def steps(first: int, last: int, **changes: Any) -> list[Event]:
    return [commit(step, **changes) for step in range(first, last + 1)]


def alarms(state: RunState, now_seconds: float | None = None, gauges: Gauges | None = None) -> list[AlarmCard]:
    """What the rules find; by default at the moment of the last fact."""
    now = state.wall_seconds if now_seconds is None else now_seconds
    view = view_of(state, now, gauges, folder="runs/quick")
    return found_alarms(Situation(view, state, now, "runs/quick"))
