"""Several peers in one process, each all-reduce on its own thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np

from runtime.collectives import Peer, Plan, WireDtype, combine, cover
from runtime.flow import Node
from runtime.ids import Generation, Rank, RunId, Step

T = TypeVar("T")

RUN = RunId("integration")
GUARD_SECONDS = 120.0


class Group:
    """`count` peers that know each other as one generation."""

    def __init__(self, peers: Sequence[Peer], pool: ThreadPoolExecutor) -> None:
        self.peers, self._pool = list(peers), pool
        self.generation = Generation(0)
        self.adopt(range(len(peers)))

    def adopt(self, ranks: Sequence[int] | range) -> None:
        """The next generation, with these members."""
        self.generation = Generation(self.generation + 1)
        for rank in ranks:
            self.peers[rank].set_members(self.generation, {Rank(each): self.peers[each].address for each in ranks})

    def plan(
        self, owners: Sequence[int], step: int = 1, extra: Sequence[int] = (), *, deterministic: bool = False
    ) -> Plan:
        """owners[shard] is the rank that holds that shard; `extra` ranks only receive."""
        nodes = {
            Rank(rank): cover([shard for shard, owner in enumerate(owners) if owner == rank], len(owners))
            for rank in sorted(set(owners))
        }
        receivers = tuple(Rank(rank) for rank in sorted({*owners, *extra}))
        return Plan(self.generation, Step(step), nodes, receivers, len(owners), deterministic)

    def start(self, rank: int, plan: Plan, leaves: Sequence[np.ndarray]) -> Future[np.ndarray]:
        """Rank `rank`'s side of the exchange, on its own thread; `leaves[shard]` is that shard's gradient."""
        parts = parts_of(plan, rank, leaves)
        out = np.full(leaves[0].size, np.nan, np.float32)
        return self._pool.submit(self.peers[rank].all_reduce, plan, parts, out=out)

    def run(self, call: Callable[[int], T], rank: int) -> Future[T]:
        """`call(rank)` on a thread of the group."""
        return self._pool.submit(call, rank)

    def all_reduce(self, plan: Plan, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Every receiver's result, in the order of `plan.receivers`."""
        running = [self.start(rank, plan, leaves) for rank in plan.receivers]
        return [each.result(GUARD_SECONDS) for each in running]


def parts_of(plan: Plan, rank: int, leaves: Sequence[np.ndarray]) -> dict[Node, np.ndarray]:
    """The partial sums that `rank` brings, each summed by the tree."""
    total = plan.total_shards
    parts: dict[Node, np.ndarray] = {}
    for node in plan.contributions.get(Rank(rank), ()):
        shards = range(node[0], min(sum(node), total))
        parts[node] = combine({(shard - node[0], 1): leaves[shard] for shard in shards}, len(shards))
    return parts


@lru_cache(maxsize=4)
def gradients(elements: int, shards: int = 8) -> list[np.ndarray]:
    """One flat fp32 gradient per shard; read-only, because nothing may write to them and tests share them."""
    rng = np.random.default_rng(elements)
    leaves = [rng.standard_normal(elements, np.float32) for _ in range(shards)]
    for leaf in leaves:
        leaf.flags.writeable = False
    return leaves


@contextmanager
def group(
    count: int, *, wire: WireDtype = WireDtype.FLOAT32, shared_memory: bool = True, message_bytes: int = 1 << 18
) -> Iterator[Group]:
    """A group whose peers, threads and descriptors are gone at the end, also when the test failed."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2 * count))
        peers = [
            Peer.open(
                "127.0.0.1:0", RUN, Rank(rank), wire=wire, bucket_bytes=1 << 20, message_bytes=message_bytes,
                shared_memory=shared_memory,
            )
            for rank in range(count)
        ]  # fmt: skip
        for peer in peers:
            stack.callback(peer.close)
        yield Group(peers, pool)
