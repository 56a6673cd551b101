"""Checkpoints of a virtual cluster: they outlive their writers, and only the newest are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from runtime.cluster.messages import CheckpointDone, Order
from runtime.flow import Snapshot
from runtime.ids import Step
from tests.virtual.engine import State

KEEP_LAST = 3
WRITE_SECONDS = 0.4


@dataclass
class Disk:
    """The shared folder of checkpoints."""

    failing: frozenset[int]
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

    disk: Disk
    report: Callable[[CheckpointDone], None]
    nursery: trio.Nursery
    turn: trio.Lock = field(default_factory=trio.Lock)

    async def write(self, snapshot: Snapshot, order: Order) -> None:
        self.nursery.start_soon(self._write, snapshot)
        await trio.lowlevel.checkpoint()

    async def _write(self, snapshot: Snapshot) -> None:
        async with self.turn:
            self.disk.writes += 1
            fails = self.disk.writes in self.disk.failing
            await trio.sleep(WRITE_SECONDS)
            path, digest = f"checkpoints/step-{snapshot.step:08d}", str(snapshot.parameters["digest"])
            if fails:
                self.disk.failed.add(snapshot.step)
                self.report(CheckpointDone(snapshot.step, "", 0, 0.0, "", "the disk is full"))
                return
            self.disk.put(path, State(snapshot.step, snapshot.cursor, dict(snapshot.counters), digest))
            self.report(CheckpointDone(snapshot.step, path, 1, WRITE_SECONDS, digest))
