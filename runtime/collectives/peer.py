"""The all-reduce peer of one worker: members, exchanges, aborts, and state for newcomers. The only door of this room.

    peer = Peer.open("127.0.0.1:0", RunId("demo"), Rank(0))
    peer.set_members(generation, {rank: address, ...})
    total = await peer.exchange(plan, parts)          # trio; `all_reduce` is the blocking call underneath

Threads: gRPC's, one per lane and direction, and the caller's. All of them end with `close`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import outcome
import trio

from runtime.collectives.codec import Floats, WireDtype
from runtime.collectives.exchange import Plan, Schedule
from runtime.collectives.fold import Scratch
from runtime.collectives.frame import Address, run_hash
from runtime.collectives.port import MESSAGE_BYTES, Port
from runtime.collectives.reduction import AnySchedule, Reduction
from runtime.collectives.scatter import ScatterSchedule, Share
from runtime.collectives.spread import Spread, SpreadSchedule
from runtime.collectives.state import State, StateStore
from runtime.collectives.traffic import Stats, Traffic
from runtime.flow import Node
from runtime.ids import Generation, Rank, RunId, Step

BUCKET_BYTES = 16 << 20


class Peer:
    """Sums gradients with the other members of a run. Make one with `open`; `close` it when the worker ends."""

    def __init__(
        self, listen: str, run: RunId, rank: Rank, *, wire: WireDtype, bucket_bytes: int, message_bytes: int,
        advertise: str, shared_memory: bool,
    ) -> None:  # fmt: skip
        self.rank = rank
        self._wire = wire
        self._bucket_elements = max(bucket_bytes // 4, 1)
        self._piece_elements = max(message_bytes // 4, 1)
        session = secrets.randbits(64)
        self._traffic = Traffic(run_hash(run), rank)
        self._store = StateStore(session)
        self._pool = Scratch(self._piece_elements)
        self._port = Port(
            listen, self._traffic, session, {"Manifest": self._store.manifest, "Chunk": self._store.chunk},
            advertise=advertise, shared_memory=shared_memory, message_bytes=message_bytes,
        )  # fmt: skip
        self.address = self._port.address

    @staticmethod
    def open(
        listen: str,
        run: RunId,
        rank: Rank,
        *,
        wire: WireDtype = WireDtype.FLOAT32,
        bucket_bytes: int = BUCKET_BYTES,
        message_bytes: int = MESSAGE_BYTES,
        advertise: str = "",
        shared_memory: bool = True,
    ) -> Peer:
        """A peer that listens on `host:port` (port 0: any free one); raises RunError when it cannot.

        All members must use the same wire, bucket_bytes and message_bytes. `advertise` is the host name that others
        should dial where `listen` is a wildcard. The session in `address` is the key to this peer: tell members only.
        """
        return Peer(
            listen, run, rank, wire=wire, bucket_bytes=bucket_bytes, message_bytes=message_bytes, advertise=advertise,
            shared_memory=shared_memory,
        )  # fmt: skip

    def set_members(self, generation: Generation, members: Mapping[Rank, str]) -> None:
        """Adopt a membership (rank -> address, this rank included). Older generations end: a running exchange of one
        raises Aborted. Lanes to members that stay are kept, lanes to others are closed. Raises StaleGeneration for an
        older generation than the one known, ValueError for a malformed address.
        """
        addresses = {rank: Address.parse(text) for rank, text in members.items()}
        self._traffic.set_members(generation, {rank: address.session for rank, address in addresses.items()})
        self._port.set_members(addresses)

    def all_reduce(
        self, plan: Plan, parts: Mapping[Node, Floats], *, out: Floats, shares: Sequence[Share] = ()
    ) -> Floats:
        """The sum over all shards of the plan, written to `out` (N elements) and returned; the same bytes on every
        receiver. Blocks; `parts` (one array of N per node that the plan says this rank contributes) stay as they are.

        With `shares` only those of which this rank is a keeper are written: a reduce-scatter (see `scatter`).

        Raises Aborted when `abort` or a newer membership ended it, RankLost as soon as a needed peer's connection
        breaks, ProtocolError when the ranks disagree about sizes. `out` is then undefined, but no thread writes to it
        any more, and the same parts can go into an exchange of a newer generation.
        """
        self._check(plan, parts, out)
        if shares:
            schedule: AnySchedule = ScatterSchedule(plan, out.size, self._piece_elements, tuple(shares))
        else:
            schedule = Schedule(plan, out.size, self._bucket_elements, self._piece_elements)
        self._run(schedule, parts, out)
        return out

    def _run(self, schedule: AnySchedule, parts: Mapping[Node, Floats], out: Floats) -> None:
        reduction = Reduction(
            schedule, rank=self.rank, run=self._traffic.run, parts=parts, out=out, wire=self._wire, pool=self._pool,
            kick=self._port.kick,
        )  # fmt: skip
        self._traffic.start(reduction)
        began = time.perf_counter()
        try:
            self._port.reach(reduction.peers)
            reduction.begin()
            reduction.wait()
        finally:
            reduction.end()
            self._traffic.finish(reduction, time.perf_counter() - began)

    def abort(self, generation: Generation) -> None:
        """End what runs of `generation` or an older one, within milliseconds, and refuse it from now on; any thread."""
        self._traffic.abort(generation)

    async def exchange(
        self, plan: Plan, parts: Mapping[Node, Floats], *, out: Floats | None = None, shares: Sequence[Share] = ()
    ) -> Floats:
        """`all_reduce` in a thread of its own. Cancellation ends the exchange and waits for that thread.

        `out` may be left out by a rank that brings a part.
        """
        result = np.empty_like(next(iter(parts.values()))) if out is None else out
        await self._in_thread(plan.key, partial(self.all_reduce, plan, parts, out=result, shares=shares))
        return result

    async def spread(self, plan: Spread, vector: Floats) -> None:
        """Send the spans of `vector` that the plan says this rank has, and receive those that it shall get, in place.

        Raises like `all_reduce`, of which at most one runs at a time; spans that were sent are never written to.
        """
        schedule = SpreadSchedule(plan, vector.size, self._piece_elements)
        if self.rank in schedule.peers:
            await self._in_thread(plan.key, partial(self._run, schedule, {}, vector))

    async def _in_thread(self, key: tuple[int, int], exchange: Callable[[], object]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_with_scope, key)
            ended = await outcome.acapture(trio.to_thread.run_sync, exchange)
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        ended.unwrap()  # out here, so that what it raises is in no exception group

    def hold_state(self, step: Step, state: State) -> None:
        """Serve `state` (immutable arrays) as the state after `step`, beside whatever else is held."""
        self._store.hold(step, state)

    def release_state(self, step: Step) -> None:
        """Stop serving the state after `step`."""
        self._store.release(step)

    @property
    def stats(self) -> Stats:
        """Counters since the peer was opened."""
        return self._traffic.stats()

    @property
    def lanes(self) -> dict[Rank, str]:
        """What carries this rank's messages to each peer: `shared memory`, `grpc`, `opening` or `closed`."""
        return self._port.kinds

    def close(self) -> None:
        """End everything: a running exchange raises Aborted; all threads are joined, all descriptors given back."""
        self._traffic.close()
        self._port.finish()
        self._port.close()

    async def _cancel_with_scope(self, key: tuple[int, int]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._traffic.cancel(key)

    def _check(self, plan: Plan, parts: Mapping[Node, Floats], out: Floats) -> None:
        if self.rank not in plan.receivers:
            raise ValueError(f"rank {self.rank} takes no part in the exchange of step {plan.step}")
        expected = set(plan.contributions.get(self.rank, ()))
        if set(parts) != expected:
            raise ValueError(f"rank {self.rank} brings {sorted(parts)} where the plan says {sorted(expected)}")
        for array in (*parts.values(), out):
            if array.dtype != np.float32 or array.shape != out.shape or array.ndim != 1 or not array.flags.c_contiguous:
                raise ValueError("parts and out must be flat, contiguous float32 vectors of one size")
        if any(np.may_share_memory(part, out) for part in parts.values()):
            raise ValueError("out must not lie in the memory of a part: the parts must survive an abort")
