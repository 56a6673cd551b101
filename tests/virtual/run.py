"""One history from beginning to end: `play(history_of(seed))`. The same seed is the same run, task by task."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import MockClock

from tests.virtual.cluster import Cluster
from tests.virtual.code import REAL, Code
from tests.virtual.history import History
from tests.virtual.ledger import Violation, demand

MOST_SECONDS = 600.0
"""Virtual time after which a run that did not end never will."""
MOST_TURNS = 15_000
"""Turns of the scheduler after which the same is true."""


@dataclass(frozen=True)
class Report:
    """What a run was like."""

    outcome: str
    seconds: float
    commits: int
    rollbacks: int
    struck: Counter[str]
    journal: tuple[str, ...]


def play(history: History, code: Code = REAL) -> Report:
    """Run `history` with `code`; raises Violation, with the script and the journal, when an invariant is broken."""
    scheduler: Any = trio._core._run
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # as pytest-trio does for hypothesis
    scheduler._r.seed(history.seed)
    try:
        turns = _Turns()
        return trio.run(_play, history, code, turns, clock=MockClock(autojump_threshold=0), instruments=[turns])
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = False


class _Turns(trio.abc.Instrument):
    """Counts the scheduler's turns: a run that spins without letting time pass is stopped."""

    def __init__(self) -> None:
        self.left = MOST_TURNS
        self.scope = trio.CancelScope()

    def after_io_wait(self, timeout: float) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def _play(history: History, code: Code, turns: _Turns) -> Report:
    cluster: Cluster | None = None
    try:
        with trio.move_on_after(MOST_SECONDS) as limit, turns.scope:
            async with trio.open_nursery() as nursery:
                cluster = Cluster(history, code, nursery)
                try:
                    await cluster.run()
                finally:
                    cluster.end()
                nursery.cancel_scope.cancel()
        assert cluster is not None
        demand(not turns.scope.cancelled_caught, f"I5 no end within {MOST_TURNS} turns")
        demand(not limit.cancelled_caught, f"I5 no end within {MOST_SECONDS:g} s")
        cluster.judge()
    except* Exception as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        journal = "\n".join(cluster.ledger.lines[-60:]) if cluster is not None else ""
        words = str(error) if isinstance(error, Violation) else f"crashed: {error!r}"
        raise Violation(f"{words}\n{history.script()}\n{journal}") from error
    assert cluster is not None
    assert cluster.outcome is not None
    wire = Counter(
        f"wire {verdict.fault.value}" for _, verdict in cluster.plan.injected if verdict.fault.value != "none"
    )
    ledger = cluster.ledger
    return Report(
        cluster.outcome.outcome, trio.current_time(), ledger.commits, ledger.rollbacks, cluster.struck + wire,
        tuple(ledger.lines),
    )  # fmt: skip
