"""How a run came back from each fault: pure figures from what was injected and what the journal says.

    signal sent -> the root saw the exit -> the coordinator counts it as lost -> the survivors' next commit
                -> its successor joined -> the first commit with the successor's own shards: whole again

The next commit counts from the loss on: a step that was already voted for when the fault came proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from runtime.events import (
    ActorExited,
    Envelope,
    Event,
    RolledBack,
    StepAborted,
    StepCommitted,
    WorkerJoined,
    WorkerLost,
)
from tests.chaos.injector import Injected
from tests.chaos.scene import COORDINATOR_PATH


@dataclass(frozen=True)
class Recovery:
    """Seconds from the signal to each milestone; None where the run ended before it."""

    injected: Injected
    exit_seconds: float | None
    detected_seconds: float | None
    next_commit_seconds: float | None
    whole_seconds: float | None
    last_seconds: float
    """To the end of this fault's part of the journal: the next fault, or the last fact."""
    phase: str = ""
    """What the worker was doing, as it had said last itself; empty for a coordinator."""


def recoveries(injected: Sequence[Injected], journal: Iterable[Envelope]) -> list[Recovery]:
    """One for each fault. Each is looked for between its own signal and the next one's."""
    envelopes = list(journal)
    ends = [one.wall_seconds for one in injected[1:]] + [math.inf]
    return [
        _of(one, [envelope for envelope in envelopes if one.wall_seconds <= envelope.wall_seconds < end])
        for one, end in zip(injected, ends, strict=True)
    ]


def rolled_back_steps(journal: Iterable[Envelope]) -> int:
    """Committed steps that were taken back, over the whole journal."""
    backs = (envelope.event for envelope in journal if isinstance(envelope.event, RolledBack))
    return sum(back.from_step - back.to_step for back in backs)


def repeated_steps(journal: Iterable[Envelope]) -> int:
    """Steps under way that were begun again; nothing committed was lost by them."""
    return sum(isinstance(envelope.event, StepAborted) for envelope in journal)


def _of(injected: Injected, envelopes: list[Envelope]) -> Recovery:
    def since(envelope: Envelope | None) -> float | None:
        return None if envelope is None else envelope.wall_seconds - injected.wall_seconds

    rest = iter(envelopes)
    exited = _next(envelopes, lambda event: _is_exit(event, injected))
    if injected.fault.rank is None:
        lost = _next(rest, lambda event: _is_exit(event, injected))
        commit = whole = _next(rest, lambda event: isinstance(event, StepCommitted))
    else:
        lost = _next(rest, lambda event: _is_loss(event, injected))
        following = list(rest)
        commit = _next(following, lambda event: isinstance(event, StepCommitted))
        again = iter(following)
        joined = _next(again, lambda event: _is_successor(event, injected))
        whole = joined and _next(again, lambda event: _is_commit_with(event, injected))
    last = envelopes[-1].wall_seconds - injected.wall_seconds if envelopes else 0.0
    ended = exited.event if exited is not None else None
    phase = ended.phase if isinstance(ended, ActorExited) else ""
    return Recovery(injected, since(exited), since(lost), since(commit), since(whole), last, phase)


def _next(envelopes: Iterable[Envelope], wanted: Callable[[Event], bool]) -> Envelope | None:
    return next((envelope for envelope in envelopes if wanted(envelope.event)), None)


def _is_exit(event: Event, injected: Injected) -> bool:
    rank = injected.fault.rank
    path = COORDINATOR_PATH if rank is None else f"run/node/worker-{rank}"
    return isinstance(event, ActorExited) and (event.path, event.incarnation) == (path, injected.incarnation)


def _is_loss(event: Event, injected: Injected) -> bool:
    return isinstance(event, WorkerLost) and (event.rank, event.incarnation) == (
        injected.fault.rank,
        injected.incarnation,
    )


def _is_successor(event: Event, injected: Injected) -> bool:
    return (
        isinstance(event, WorkerJoined)
        and event.rank == injected.fault.rank
        and event.incarnation > injected.incarnation
    )


def _is_commit_with(event: Event, injected: Injected) -> bool:
    return isinstance(event, StepCommitted) and injected.fault.rank in event.owners


@dataclass(frozen=True)
class Spread:
    """Figures of one milestone over all faults that reached it."""

    count: int
    median: float
    p99: float
    """By nearest rank; with fewer than a hundred it is the worst."""
    worst: float

    def __str__(self) -> str:
        return f"median {self.median:.3f} s, p99 {self.p99:.3f} s, worst {self.worst:.3f} s ({self.count})"


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, p99 and worst of the values that are there; None when there are none."""
    found = sorted(_present(values))
    if not found:
        return None
    return Spread(len(found), median(found), found[math.ceil(0.99 * len(found)) - 1], found[-1])


def _present(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)
