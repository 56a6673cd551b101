"""The data plane of a virtual cluster: sums that need every contributor, states for newcomers, links that break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from runtime.cluster.messages import Heal, Member, Order
from runtime.errors import Aborted, PeerLost, StaleGeneration
from runtime.flow import Node, Snapshot, StepOrder
from runtime.ids import Generation, Rank, Step
from runtime.trainer.slices import parcels_of
from tests.virtual.engine import Part
from tests.virtual.wire import KEEPALIVE_SECONDS, WirePlan

FETCH_SECONDS = 0.2
LOST = None
"""What stands in a mailbox for a contribution that was lost on its way."""
Key = tuple[int, float]


class LinkLost(PeerLost):
    """A peer of a running exchange cannot be reached; `rank` says which."""

    def __init__(self, sentence: str, rank: Rank) -> None:
        self.rank = rank
        super().__init__(sentence)


@dataclass
class Plane:
    """Every peer's mailbox, by address. Addresses are never used twice."""

    nursery: trio.Nursery
    plan: WirePlan
    random: Random
    peers: dict[str, VirtualExchange] = field(default_factory=dict)
    flaps: dict[frozenset[str], int] = field(default_factory=dict)

    def open(self, rank: Rank, address: str) -> VirtualExchange:
        """A peer that can be reached from now on."""
        self.peers[address] = VirtualExchange(self, rank, address)
        return self.peers[address]

    def died(self, address: str) -> None:
        """The peer's process is gone; everybody who waits for it hears of it."""
        self.peers.pop(address, None)
        for peer in self.peers.values():
            peer.look_again()

    def flap(self, one: str, other: str) -> None:
        """The connection between two peers breaks and can be made again at once; what was on its way is lost."""
        pair = frozenset((one, other))
        self.flaps[pair] = self.flaps.get(pair, 0) + 1
        for at, source in ((one, other), (other, one)):
            if at in self.peers:
                self.peers[at].broke(source)

    def send(self, source: VirtualExchange, target: str, key: Key, part: Any) -> None:
        """Carry a contribution to a peer, in its own time."""
        self.nursery.start_soon(self._carry, source, target, key, part)

    async def _carry(self, source: VirtualExchange, target: str, key: Key, part: Any) -> None:
        pair = frozenset((source.address, target))
        connection = self.flaps.get(pair, 0)
        await trio.sleep(self.random.choice((0.001, 0.004, 0.03)))
        with trio.move_on_after(KEEPALIVE_SECONDS):
            await self.plan.passable(source.address, target)
        arrived = source.address in self.peers and self.flaps.get(pair, 0) == connection
        arrived = arrived and not self.plan.is_cut(source.address, target)
        if target in self.peers:
            self.peers[target].arrive(key, source.address, part if arrived else LOST)


@dataclass
class VirtualExchange:
    """Implements `engine.Exchange`: one peer."""

    plane: Plane
    rank: Rank
    address: str
    generation: Generation = Generation(0)
    members: dict[Rank, str] = field(default_factory=dict)
    mailbox: dict[Key, dict[str, Any]] = field(default_factory=dict)
    offered: dict[Step, Snapshot] = field(default_factory=dict)
    news: trio.Event = field(default_factory=trio.Event)
    running: Key | None = None

    def look_again(self) -> None:
        """Wake whoever waits here."""
        self.news.set()
        self.news = trio.Event()

    def arrive(self, key: Key, source: str, part: Any) -> None:
        """A contribution, or the news that it was lost; those of an older generation are refused."""
        if key[0] >= self.generation:
            self.mailbox.setdefault(key, {})[source] = part
            self.look_again()

    def broke(self, source: str) -> None:
        """The connection to `source` broke: what the running exchange still waits for from there is lost."""
        if self.running is not None:
            self.mailbox.setdefault(self.running, {}).setdefault(source, LOST)
            self.look_again()

    async def set_members(self, generation: Generation, members: Sequence[Member]) -> None:
        await trio.lowlevel.checkpoint()
        if generation < self.generation:
            raise StaleGeneration(f"generation {generation} is older than {self.generation}")
        self.generation = generation
        self.members = {member.rank: member.peer_address for member in members}
        self.mailbox = {key: parts for key, parts in self.mailbox.items() if key[0] >= generation}
        self.look_again()

    def portion(self, order: Order) -> None:
        return None

    async def sum(self, order: StepOrder, parts: Mapping[Node, Any], portion: object = None) -> list[Part]:
        key = (int(order.generation), int(order.step))
        mine = list(parts.values())
        for rank in order.receivers:
            if mine and rank != self.rank:
                self.plane.send(self, self.members[rank], key, mine[0])
        sources = {rank: self.members[rank] for rank in order.contributors if rank != self.rank}
        return mine + await self._all(order.generation, key, sources)

    async def spread(self, order: Order, lent: Any) -> Any:
        key = (int(order.generation), order.state + 0.5)
        parcels = [parcel for parcel in parcels_of(order) if parcel.parameters_to]
        for rank in {rank for parcel in parcels if parcel.sender == self.rank for rank in parcel.parameters_to}:
            self.plane.send(self, self.members[rank], key, lent)
        senders = {parcel.sender for parcel in parcels if self.rank in parcel.parameters_to}
        found: dict[int, str] = {}
        for part in await self._all(order.generation, key, {rank: self.members[rank] for rank in senders}):
            found |= part
        return found

    async def _all(self, generation: Generation, key: Key, sources: Mapping[Rank, str]) -> list[Any]:
        self.running = key
        try:
            while True:
                found = self._gathered(generation, key, sources)
                if found is not None:
                    await trio.lowlevel.checkpoint()
                    return found
                await self.news.wait()
        finally:
            self.running = None

    def _gathered(self, generation: Generation, key: Key, sources: Mapping[Rank, str]) -> list[Any] | None:
        if generation != self.generation:
            raise Aborted(f"generation {generation} is over")
        box = self.mailbox.get(key, {})
        found: list[Any] = []
        for rank, address in sources.items():
            part = box.get(address, LOST)
            if part is not LOST:
                found.append(part)
            elif address in box or address not in self.plane.peers:
                raise LinkLost(f"rank {rank} at {address} is gone", rank)
        return found if len(found) == len(sources) else None

    async def offer(self, snapshots: Sequence[Snapshot]) -> None:
        await trio.lowlevel.checkpoint()
        self.offered = {snapshot.step: snapshot for snapshot in snapshots}

    async def fetch(self, heal: Heal) -> tuple[Snapshot, int, tuple[Rank, ...]]:
        await trio.sleep(FETCH_SECONDS / 4)
        for source in heal.sources:
            if self._offer_of(source, heal.step) is not None:
                await trio.sleep(FETCH_SECONDS)
            snapshot = self._offer_of(source, heal.step)
            if snapshot is not None:
                return snapshot, 1, (source.rank,)
        raise PeerLost(f"no peer could give the whole state after step {heal.step}")

    def _offer_of(self, source: Member, step: Step) -> Snapshot | None:
        peer = self.plane.peers.get(source.peer_address)
        if peer is None or self.plane.plan.is_cut(source.peer_address, self.address):
            return None
        return peer.offered.get(step)
