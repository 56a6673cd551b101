"""Checkpoints of a virtual cluster: they outlive their writers, and only the newest are kept.

Every state is cut into as many shares as its history says (or has writers), each a digest; what is sealed must have all
of them, of one state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from runtime.cluster.messages import CheckpointDone, Order, Seal, ShardWritten
from runtime.ids import Rank, Step
from runtime.trainer.engine import Engine
from tests.virtual.engine import State
from tests.virtual.ledger import demand

KEEP_LAST = 3
WRITE_SECONDS = 0.4


@dataclass
class Disk:
    """The shared folder of checkpoints."""

    failing: frozenset[int]
    shares: int = 1
    """A state is cut into at most so many."""
    states: dict[str, State] = field(default_factory=dict)
    writes: int = 0
    failed: set[Step] = field(default_factory=set)

    def put(self, path: str, state: State) -> None:
        """A complete checkpoint appears; the oldest ones go."""
        self.states[path] = state
        for old in sorted(self.states, key=lambda name: self.states[name].step)[:-KEEP_LAST]:
            del self.states[old]


@dataclass
class VirtualWriter:
    """Implements `engine.Writer`: one write after another, reported when it is done."""

    rank: Rank
    disk: Disk
    report: Callable[[CheckpointDone | ShardWritten], None]
    nursery: trio.Nursery
    is_away: bool = False
    """On another machine than the disk."""
    turn: trio.Lock = field(default_factory=trio.Lock)
    unsealed: dict[str, State] = field(default_factory=dict)

    async def write(self, engine: Engine, order: Order) -> None:
        assert order.save is not None
        demand(not self.is_away, f"I5 worker {self.rank} cannot reach the disk that it is to write to")
        writers, attempt = order.save.writers, order.save.attempt
        shares = len(writers) if order.holders else min(len(writers), self.disk.shares)
        if writers.index(self.rank) >= shares:
            return
        snapshot = await engine.snapshot()
        digest = str(snapshot.parameters["digest"])
        state = State(snapshot.step, snapshot.cursor, dict(snapshot.counters), digest)
        if shares == 1:
            self.nursery.start_soon(self._whole, attempt, state)
        else:
            if writers.index(self.rank) == 0:
                self.unsealed[attempt] = state
            self.nursery.start_soon(self._share, attempt, state, shares)

    async def seal(self, order: Seal) -> None:
        self.nursery.start_soon(self._seal, order)
        await trio.lowlevel.checkpoint()

    async def _whole(self, attempt: str, state: State) -> None:
        async with self.turn:
            if await self._works(attempt, state.step, WRITE_SECONDS):
                self._put(attempt, state)

    async def _share(self, attempt: str, state: State, shares: int) -> None:
        async with self.turn:
            if await self._works(attempt, state.step, WRITE_SECONDS * 2 / (2 + self.rank)):
                self.report(ShardWritten(state.step, attempt, shares, f"{state.digest} of {shares}"))

    async def _seal(self, order: Seal) -> None:
        async with self.turn:
            if await self._works(order.attempt, order.step, WRITE_SECONDS / 4):
                state = self.unsealed.pop(order.attempt)
                demand(set(order.files) == {f"{state.digest} of {len(order.files)}"}, f"sealed {order}, not {state}")
                self._put(order.attempt, state)

    async def _works(self, attempt: str, step: Step, seconds: float) -> bool:
        self.disk.writes += 1
        fails = self.disk.writes in self.disk.failing
        await trio.sleep(seconds)
        if fails:
            self.disk.failed.add(step)
            self.report(CheckpointDone(step, "", 0, 0.0, "", "the disk is full", attempt))
        return not fails

    def _put(self, attempt: str, state: State) -> None:
        path = f"checkpoints/step-{state.step:08d}"
        self.disk.put(path, state)
        self.report(CheckpointDone(state.step, path, 1, WRITE_SECONDS, state.digest, attempt=attempt))
