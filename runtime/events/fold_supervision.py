"""How the facts about processes and membership change the tree, the workers and the alarms. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from runtime.events.alarms import mend, raise_alarm
from runtime.events.state import ActorRow, Mark, RunState, WorkerRow
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
from runtime.events.training import ShardsMoved
from runtime.ids import ActorPath, Generation, Incarnation, Rank

_ActorFact: TypeAlias = ActorStarting | ActorReady | ActorExited | RestartPlanned | SupervisorGaveUp
_WorkerFact: TypeAlias = WorkerJoined | WorkerLost | WorkerHung | GenerationStarted | StateHealed
_SpareFact: TypeAlias = SpareReady | SpareLost
_WishFact: TypeAlias = WorkerAdded | WorkerRemoved | RestartRequested | KillRequested
Fact: TypeAlias = _ActorFact | _WorkerFact | _SpareFact | _WishFact | SupervisorStarted

ROOT = ActorPath("run")
COORDINATOR = ActorPath("run/coordinator")
_MOST_FAILURES = 32


def folded(state: RunState, event: Fact) -> RunState:
    """The state after one fact of this file's subject."""
    match event:
        case ActorStarting() | ActorReady() | ActorExited() | RestartPlanned() | SupervisorGaveUp():
            return _actor(state, event)
        case SpareReady():
            return replace(state, spares=state.spares | {event.pid})
        case SpareLost():
            return replace(state, spares=state.spares - {event.pid})
        case SupervisorStarted():
            return _supervises(state, event)
        case WorkerAdded() | RestartRequested() | KillRequested():
            return state  # what becomes of it are facts of their own
        case WorkerRemoved():
            return _with_worker(state, replace(_row(state, event.rank), phase="leaving", reason=f"removed: {event.by}"))
        case _:
            return _worker(state, event)


def _supervises(state: RunState, event: SupervisorStarted) -> RunState:
    """A policy is known; with the root's begins a process that knows nobody of those before it."""
    if event.path == ROOT:
        state = replace(
            state, actors={}, workers={}, members=(), spares=frozenset(), generation=Generation(0),
            writing_step=None, stopping="", outcome=None, alarms={},
        )  # fmt: skip
    row = state.actors.get(event.path) or ActorRow(event.path)
    row = replace(row, strategy=event.strategy, budget=event.intensity, period_seconds=event.period_seconds)
    if event.path == ROOT:  # nobody starts it
        row = replace(row, status="ready", incarnation=Incarnation(1), pid=event.pid, host=event.host)
    return _with_actor(state, event.path, replace(row, since_seconds=state.wall_seconds))


def _failed_once_more(state: RunState, child: ActorPath, event: RestartPlanned) -> RunState:
    """Its supervisor forgave one failure more, unless the child fell with another one (then nothing was counted)."""
    path = ActorPath(child.rpartition("/")[0])
    parent = state.actors.get(path)
    if parent is None or parent.budget is None:
        return state
    now = state.wall_seconds
    within = tuple(when for when in parent.failures if when > now - parent.period_seconds)
    burnt = parent.budget - event.restarts_left
    failures = (*within, now)[-_MOST_FAILURES:] if burnt > len(within) else within
    return _with_actor(state, path, replace(parent, failures=failures))


def _actor(state: RunState, event: _ActorFact) -> RunState:
    row = state.actors.get(event.path) or ActorRow(event.path)
    match event:
        case ActorStarting():
            strategy = event.strategy or row.strategy
            row = replace(row, status="starting", incarnation=event.incarnation, strategy=strategy, pid=0)
        case ActorReady():
            state = replace(state, spares=state.spares - {event.pid})  # it has a rank now
            row = replace(
                row,
                status="ready",
                incarnation=event.incarnation,
                pid=event.pid,
                host=event.host or row.host,
                device=event.device or row.device,
            )
        case ActorExited():
            reason = f"{event.reason}: {event.detail}" if event.detail else event.reason
            row = replace(row, status="exited", incarnation=event.incarnation, pid=0, reason=reason, tail=event.tail)
            if not event.expected:
                row = replace(row, restarts=row.restarts + 1)
                state = replace(state, restarts=state.restarts + 1)
            if event.path == COORDINATOR:
                state = replace(state, writing_step=None)  # nobody waits for what it had ordered
        case RestartPlanned():
            row = replace(row, status="waiting", restarts_left=event.restarts_left)
            state = _failed_once_more(state, event.path, event)
        case SupervisorGaveUp():
            row = replace(row, status="gave_up", reason=event.cause, tail=event.tail)
            state = raise_alarm(
                state, f"gave up {event.path}", event.path, event.cause, fix=_last_line(event), severity="critical"
            )
    return _with_actor(state, event.path, replace(row, since_seconds=state.wall_seconds))


def _last_line(event: SupervisorGaveUp) -> str:
    """What to look at first: the last thing that the dead child said."""
    lines = event.tail.strip().splitlines()
    return f"it said last: {lines[-1].strip()}" if lines else ""


def _with_actor(state: RunState, path: ActorPath, row: ActorRow) -> RunState:
    return replace(state, actors={**state.actors, path: row})


def _worker(state: RunState, event: _WorkerFact) -> RunState:
    match event:
        case WorkerJoined():
            return _joined(state, event)
        case WorkerLost():
            return _lost(state, event)
        case WorkerHung():
            cause = f"hung in {event.phase}: quiet for {event.quiet_seconds:.1f} s (limit {event.limit_seconds:.1f} s)"
            row = replace(_row(state, event.rank), phase="hung", incarnation=event.incarnation, reason=cause)
            state = raise_alarm(state, f"worker {event.rank}", f"worker {event.rank}", cause)
            return _with_worker(state, row)
        case StateHealed():
            return _with_worker(state, replace(_row(state, event.rank), state_step=event.step))
        case GenerationStarted():
            return _new_generation(state, event)


def divided(state: RunState, event: ShardsMoved) -> RunState:
    """The shards are divided by speed."""
    counts, speeds, workers = dict(event.after), dict(event.speeds), dict(state.workers)
    for rank in {*workers, *counts}:
        row = workers.get(rank) or WorkerRow(rank)
        workers[rank] = replace(row, shards=counts.get(rank), positions_per_second=speeds.get(rank, 0.0))
    return replace(state, workers=workers)


def _joined(state: RunState, event: WorkerJoined) -> RunState:
    row = replace(
        _row(state, event.rank),
        phase="joined",
        incarnation=event.incarnation,
        state_step=event.state_step,
        pid=event.pid,
        host=event.host,
        device=event.device,
    )
    if row.losses:
        mark = Mark(state.training.step, "joined", f"worker {event.rank}")
        state = replace(state, marks=state.marks.append(mark))
    return mend(_with_worker(state, row), f"worker {event.rank}")


def _lost(state: RunState, event: WorkerLost) -> RunState:
    row = _row(state, event.rank)
    if row.phase == "leaving":
        return _left(state, event.rank)
    row = replace(row, phase="lost", incarnation=event.incarnation, losses=row.losses + 1, reason=event.reason, pid=0)
    row = replace(row, shards=None, positions_per_second=0.0)
    state = replace(
        _with_worker(state, row),
        workers_lost=state.workers_lost + 1,
        members=tuple(member for member in state.members if member[0] != event.rank),
        marks=state.marks.append(Mark(state.training.step, "lost", f"worker {event.rank}: {event.reason}")),
    )
    return raise_alarm(state, f"worker {event.rank}", f"worker {event.rank}", f"lost: {event.reason}")


def _left(state: RunState, rank: Rank) -> RunState:
    """One that was asked to leave is no loss: nothing of it stays."""
    workers = {other: row for other, row in state.workers.items() if other != rank}
    members = tuple(member for member in state.members if member[0] != rank)
    return mend(replace(state, workers=workers, members=members), f"worker {rank}")


def _new_generation(state: RunState, event: GenerationStarted) -> RunState:
    """Members train; whoever was a member and is none any more keeps the word that its own facts gave it."""
    workers = dict(state.workers)
    for rank, incarnation in event.members:
        row = _row(state, rank)
        if row.phase != "training":
            row = replace(row, since_seconds=state.wall_seconds)
        workers[rank] = replace(row, phase="training", incarnation=incarnation, reason="")
    return replace(state, workers=workers, generation=event.generation, members=event.members)


def _row(state: RunState, rank: Rank) -> WorkerRow:
    return state.workers.get(rank) or WorkerRow(rank)


def _with_worker(state: RunState, row: WorkerRow) -> RunState:
    row = replace(row, since_seconds=state.wall_seconds)
    return replace(state, workers={**state.workers, row.rank: row})
