"""Processes of a virtual cluster: tasks that can be killed at any await, and that nobody hears from afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import trio

from runtime.cluster.messages import Finish, Refused
from runtime.cluster.session import open_session
from runtime.errors import PeerLost, StaleGeneration
from runtime.ids import Incarnation, Rank
from runtime.rpc import FaultyNetwork
from runtime.trainer.engine import Parts, Pulse
from tests.virtual.code import Code
from tests.virtual.disk import Disk, VirtualWriter
from tests.virtual.engine import State, VirtualEngine, VirtualFeeder
from tests.virtual.history import SAMPLES_IN_EPOCH, History
from tests.virtual.ledger import Ledger, demand
from tests.virtual.plane import Plane

BOOT_SECONDS = 0.2
RECONNECT_SECONDS = 0.1
MOST_REJOINS = 60


@dataclass
class Contact:
    """Where the coordinator listens; a new one is news."""

    address: str = ""
    news: trio.Event = field(default_factory=trio.Event)

    def tell(self, address: str) -> None:
        """A coordinator is there."""
        self.address = address
        self.news.set()
        self.news = trio.Event()

    async def other_than(self, address: str) -> str:
        """Wait for a coordinator that is not at `address`."""
        while self.address in ("", address):
            await self.news.wait()
        return self.address


@dataclass
class Worker:
    """One incarnation of a worker's process."""

    rank: Rank
    incarnation: Incarnation
    history: History
    code: Code
    network: FaultyNetwork
    plane: Plane
    disk: Disk
    ledger: Ledger
    contact: Contact
    beat: Callable[[Worker, int, str], None]
    alive: bool = True
    hung: bool = False
    finished: bool = False
    """Whether it was told that the run is over."""
    refused: bool = False
    rejoins: int = 0
    replaced: trio.Event = field(default_factory=trio.Event)
    """Set when its slot is free for a successor, though it may live on as a zombie."""
    engine: VirtualEngine | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    calls: list[trio.CancelScope] = field(default_factory=list)
    """Calls of the device under way."""

    @property
    def name(self) -> str:
        """Its name on the network, and its address on the data plane."""
        return f"worker-{self.rank}.{self.incarnation}"

    def kill(self) -> None:
        """SIGKILL: from this moment nothing that it does counts."""
        self.alive = False
        self.plane.died(self.name)
        self.scope.cancel()
        for call in self.calls:
            call.cancel()

    async def busy(self, seconds: float) -> None:
        """See `engine.Host`."""
        if self.alive:
            with trio.CancelScope(shield=True) as call:
                self.calls.append(call)
                await trio.sleep(inf if self.hung else seconds)
            self.calls.remove(call)
        if not self.alive:
            await trio.sleep_forever()

    def observe(self, state: State, how: str) -> None:
        """See `engine.Host`."""
        self.ledger.seen(self.name, state, how)

    def load(self, path: str) -> State | None:
        """See `engine.Host`."""
        return None if self.is_away else self.disk.states.get(path)

    @property
    def is_away(self) -> bool:
        """Whether the disk is on another machine."""
        return self.rank >= self.history.near

    async def run(self) -> None:
        """Until the run is over (`finished`), or the process is dead or `refused`."""
        with self.scope:
            await trio.sleep(BOOT_SECONDS)
            async with trio.open_nursery() as nursery:
                await self._trainer(nursery)
                nursery.cancel_scope.cancel()
        self.alive = False
        self.plane.died(self.name)

    async def _trainer(self, nursery: trio.Nursery) -> None:
        self.engine = VirtualEngine(self, self.history)
        exchange = self.plane.open(self.rank, self.name)
        identity = self.code.Identity(
            run="virtual",
            rank=self.rank,
            incarnation=self.incarnation,
            peer_address=self.name,
            samples_in_epoch=SAMPLES_IN_EPOCH,
            data_fingerprint="numbers",
            host="here",
            device="pretended",
            pid=1,
            is_away=self.is_away,
        )
        writer = VirtualWriter(self.rank, self.disk, lambda done: trainer.report(done), nursery, is_away=self.is_away)  # noqa: PLW0108 - it is made below
        pulse = Pulse(lambda step, phase: self.beat(self, step, phase))
        trainer = self.code.Trainer(identity, Parts(self.engine, VirtualFeeder(self.history), exchange, writer, pulse))
        nursery.start_soon(self._beats, pulse)
        while True:
            address = await self.contact.other_than("")
            try:
                async with self.network.connect(address, name=self.name) as channel:
                    async with open_session(channel, trainer.join()) as session:
                        end = await trainer.serve(session)
            except StaleGeneration:
                self.rejoins += 1
                demand(self.rejoins < MOST_REJOINS, f"I5 {self.name} rejoins again and again")
            except PeerLost:
                pulse.enter(pulse.step, "looking for the coordinator")
                with trio.move_on_after(RECONNECT_SECONDS):
                    await self.contact.other_than(address)
            else:
                self.refused, self.finished = isinstance(end, Refused), isinstance(end, Finish)
                return

    async def _beats(self, pulse: Pulse) -> None:
        while True:
            self.beat(self, pulse.step, pulse.phase)
            await trio.sleep(1.0)
