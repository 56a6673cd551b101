"""The all-reduce peer as the trainer sees it: orders in the protocol's words, plans in the data plane's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import trio

from runtime.checkpoint.arrays import dtype_code, from_bytes, raw_bytes, shape_of, to_mlx
from runtime.cluster.messages import Heal, Member, Order
from runtime.cluster.slices import Holders, Portion, senders
from runtime.collectives import Parcel, Peer, Plan, Share, Spread, cover, fetch_state
from runtime.flow import Array, Node, Snapshot, StepOrder
from runtime.ids import Generation, Rank, Step
from runtime.optim.sharding import span
from runtime.trainer.neighbours import Neighbours
from runtime.trainer.slices import parcels_of

_SEPARATOR = "|"


class PeerExchange:
    """Implements `engine.Exchange` over one `Peer`."""

    def __init__(
        self,
        peer: Peer,
        elements: int,
        logical_shards: int,
        *,
        deterministic: bool,
        neighbours: Neighbours | None = None,
    ) -> None:
        """`elements` is the length of the flat gradient; `neighbours` are the other stages of a pipeline."""
        self._peer, self._elements, self._neighbours = peer, elements, neighbours
        self._logical_shards, self._deterministic = logical_shards, deterministic
        self._members: tuple[Generation, tuple[Member, ...]] | None = None
        self._offered: set[Step] = set()
        self._out = np.empty(0, np.float32)

    async def set_members(self, generation: Generation, members: Sequence[Member]) -> None:
        """See Exchange."""
        if self._members == (generation, tuple(members)):
            return  # every order says it, and it changes only when somebody comes or goes
        addresses = {member.rank: member.peer_address for member in members}
        await trio.to_thread.run_sync(self._peer.set_members, generation, addresses)
        if self._neighbours is not None:
            stages = {member.rank: member.stage_address for member in members}
            await trio.to_thread.run_sync(self._neighbours.set_members, generation, stages)
        self._members = generation, tuple(members)

    def portion(self, order: Order) -> Portion | None:
        """See Exchange. Where the last bit counts the sum goes to everybody, because a norm added up from slices is
        not to the bit that of the whole."""
        if not order.keepers or self._deterministic:
            return None
        return Portion(self._peer.rank, order.keepers)

    async def sum(self, order: StepOrder, parts: Mapping[Node, Array], portion: Portion | None = None) -> Array:
        """See Exchange. The returned vector is reused by the next call: copy what must last."""
        if not self._out.size:
            self._out = np.empty(self._elements, np.float32)
        mine: Mapping[Node, Array] = parts
        if not self._deterministic and parts:
            (vector,) = parts.values()
            mine = {(order.contributors.index(self._peer.rank), 1): vector}
        if portion is not None and not mine and not portion.kept:
            return self._out
        shares = () if portion is None else self._shares(portion.keepers)
        return await self._peer.exchange(self.plan(order), mine, out=self._out, shares=shares)

    def _shares(self, keepers: Holders) -> tuple[Share, ...]:
        """The slices and their keepers, equal on every rank."""
        spans = (span(self._elements, len(keepers), index) for index in range(len(keepers)))
        return tuple(
            Share(owner, *place, kept) for owner, place, kept in zip(senders(keepers), spans, keepers, strict=True)
        )

    async def spread(self, order: Order, lent: Array) -> Array:
        """See Exchange; the vector that was lent is filled in place."""
        kinds = lent.size // self._elements
        wanted = []
        slicing = partial(span, self._elements, len(order.holders))
        for parcel in parcels_of(order):
            start, stop = slicing(parcel.slice)
            wanted.append(Parcel(parcel.sender, start, stop, parcel.parameters_to))
            for kind in range(1, kinds):
                at = kind * self._elements
                wanted.append(Parcel(parcel.sender, at + start, at + stop, parcel.state_to))
        await self._peer.spread(Spread(order.generation, Step(order.state + 1), tuple(wanted)), lent)
        return lent

    def plan(self, order: StepOrder) -> Plan:
        """Who brings which partial sums: tree nodes when deterministic, else one for each contributor, by rank."""
        ranks = order.contributors
        if self._deterministic:
            nodes = {rank: cover(order.shards_of(rank), self._logical_shards) for rank in ranks}
            total = self._logical_shards
        else:
            nodes = {rank: ((index, 1),) for index, rank in enumerate(ranks)}
            total = len(ranks)
        return Plan(order.generation, order.step, nodes, order.receivers, total, self._deterministic)

    async def offer(self, snapshots: Sequence[Snapshot]) -> None:
        """See Exchange."""
        steps = {snapshot.step for snapshot in snapshots}
        for step in self._offered - steps:
            self._peer.release_state(step)
        for snapshot in snapshots:
            if snapshot.step not in self._offered:
                self._peer.hold_state(snapshot.step, _packed(snapshot))
        self._offered = steps

    async def fetch(self, heal: Heal) -> tuple[Snapshot, int, tuple[Rank, ...]]:
        """See Exchange."""
        addresses = [member.peer_address for member in heal.sources]
        fetching = partial(fetch_state, heal.step, addresses)
        state = await trio.to_thread.run_sync(fetching, abandon_on_cancel=True)
        size_bytes = sum(array.nbytes for array in state.values())
        return _unpacked(state, heal), size_bytes, tuple(member.rank for member in heal.sources)


def _packed(snapshot: Snapshot) -> dict[str, Array]:
    """One flat mapping of host views; the name carries what numpy cannot: `p|BF16|4,8|model.norm.weight`."""
    state = {}
    for role, arrays in (("p", snapshot.parameters), ("o", snapshot.optimizer)):
        for name, array in arrays.items():
            shape = ",".join(str(length) for length in shape_of(array))
            key = _SEPARATOR.join((role, dtype_code(array), shape, name))
            state[key] = np.frombuffer(raw_bytes(array), np.uint8)
    return state


def _unpacked(state: Mapping[str, Array], heal: Heal) -> Snapshot:
    arrays: dict[str, dict[str, Array]] = {"p": {}, "o": {}}
    for key, raw in state.items():
        role, code, shape, name = key.split(_SEPARATOR, 3)
        lengths = tuple(int(length) for length in shape.split(",") if length)
        arrays[role][name] = from_bytes(np.asarray(raw), code, lengths), code
    return Snapshot(heal.step, heal.cursor, arrays["p"], arrays["o"], heal.counters)


def on_device(snapshot: Snapshot) -> Snapshot:
    """A fetched state as mlx arrays. Call it on the thread that owns mlx."""
    parameters = {name: to_mlx(array, code) for name, (array, code) in snapshot.parameters.items()}
    optimizer = {name: to_mlx(array, code) for name, (array, code) in snapshot.optimizer.items()}
    return Snapshot(snapshot.step, snapshot.cursor, parameters, optimizer, snapshot.counters)
