"""The feeder: batches by order, made ahead of the trainer on a thread of their own.

A batch is a pure function of the order, so fetching ahead can only save time: a wrong guess (a death changed the
owners, a rollback changed the cursor) is thrown away and the right batch is made at once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TypeAlias

import trio

from runtime.data.batches import Shaping, global_shape, make_micros
from runtime.data.plan import BatchPlan
from runtime.data.tokens import Samples
from runtime.flow import Batch, StepOrder
from runtime.ids import Cursor, Rank, ShardId, Step

_Key: TypeAlias = tuple[Cursor, int, int, tuple[ShardId, ...]]
"""All that a batch depends on: cursor, samples, number of logical shards, the shards wanted."""


def make_batch(dataset: Samples, plan: BatchPlan, shaping: Shaping, order: StepOrder, rank: Rank) -> Batch:
    """The rows of every shard that `order` gives to `rank`. Pure; raises ValueError for an order of another run."""
    return _make(
        dataset, plan, shaping, order.step, (order.cursor, order.samples, len(order.owners), order.shards_of(rank))
    )


class Feeder:
    """Serves `take` from batches made ahead. `run` does that work; without it `take` makes each batch itself.

    One caller at a time. The plan belongs to the feeder's one thread once the first batch was asked for.
    """

    def __init__(self, dataset: Samples, plan: BatchPlan, shaping: Shaping, *, prefetch: int = 4) -> None:
        self._dataset, self._plan, self._shaping, self._prefetch = dataset, plan, shaping, prefetch
        self._ready: OrderedDict[_Key, Batch] = OrderedDict()
        self._wanted: list[tuple[Step, _Key]] = []
        self._making: tuple[_Key, trio.Event] | None = None
        self._news = trio.Event()
        self._thread = trio.CapacityLimiter(1)
        self.waited_seconds = 0.0
        """How long `take` made its callers wait, in all."""
        self.served_ahead = 0
        """Batches that were ready when they were asked for."""

    @property
    def idle_batches(self) -> int:
        """Batches that lie ready; at most `prefetch`."""
        return len(self._ready)

    async def take(self, order: StepOrder, rank: Rank) -> Batch:
        """The rows of every shard that `order` gives to `rank`, and a guess at the orders to come.

        The result does not depend on what was fetched ahead. Raises ValueError for an order of another run.
        """
        began = trio.current_time()
        key = (order.cursor, order.samples, len(order.owners), order.shards_of(rank))
        if self._making is not None and self._making[0] == key:
            await self._making[1].wait()
        batch = self._ready.pop(key, None)
        if batch is not None:
            self.served_ahead += 1
        else:
            batch = await self._on_thread(order.step, key)
        self._guess(order, key)
        self.waited_seconds += trio.current_time() - began
        return batch

    def ready(self, order: StepOrder, rank: Rank) -> Batch | None:
        """The batch that `take` would return for such an order, if it was made ahead. It stays there."""
        return self._ready.get((order.cursor, order.samples, len(order.owners), order.shards_of(rank)))

    async def run(self) -> None:
        """Make the batches that `take` will probably be asked for, until cancelled."""
        while True:
            while self._wanted:
                step, key = self._wanted.pop(0)
                if key not in self._ready:
                    await self._make_ahead(step, key)
            self._news = trio.Event()
            await self._news.wait()

    async def _make_ahead(self, step: Step, key: _Key) -> None:
        """One batch into `_ready`, which holds at most `prefetch` of them."""
        done = trio.Event()
        self._making = key, done
        try:
            batch = await self._on_thread(step, key)
            if len(self._ready) < self._prefetch:
                self._ready[key] = batch
        finally:
            self._making = None
            done.set()

    async def _on_thread(self, step: Step, key: _Key) -> Batch:
        # Not abandoned on cancel: the plan has one user at a time, and a batch takes milliseconds.
        return await trio.to_thread.run_sync(
            _make, self._dataset, self._plan, self._shaping, step, key, limiter=self._thread
        )

    def _guess(self, order: StepOrder, key: _Key) -> None:
        """Expect the same shards at the next cursors; forget what was made for anything else."""
        _, samples, total_shards, shards = key
        wanted: list[tuple[Step, _Key]] = []
        cursor, end = order.cursor, self._plan.total_samples
        for ahead in range(1, self._prefetch + 1):
            cursor = Cursor(cursor + samples)
            if end is not None and cursor >= end:
                break
            samples = self._plan.global_batch_size if end is None else min(self._plan.global_batch_size, end - cursor)
            wanted.append((Step(order.step + ahead), (cursor, samples, total_shards, shards)))
        keys = {key for _, key in wanted}
        for stale in [key for key in self._ready if key not in keys]:
            del self._ready[stale]
        self._wanted = [(step, key) for step, key in wanted if key not in self._ready]
        self._news.set()


def _make(dataset: Samples, plan: BatchPlan, shaping: Shaping, step: Step, key: _Key) -> Batch:
    cursor, samples, total_shards, shards = key
    by_shard = plan.shards(cursor, samples, total_shards)
    mine = {shard: by_shard[shard] for shard in shards}
    dataset.prepare(int(sample) for ids in mine.values() for sample in ids)
    shape = global_shape(dataset, by_shard, math.ceil(plan.global_batch_size / total_shards), shaping)
    micros = make_micros(dataset, mine, shape, shaping)
    taken = {shard: tuple(int(sample) for sample in ids) for shard, ids in mine.items()}
    return Batch(
        step=step,
        cursor=cursor,
        shards=shards,
        micros=micros,
        sample_ids=taken,
        useful_tokens=sum(max(0, dataset.length(sample) - 1) for ids in taken.values() for sample in ids),
        computed_positions=sum(micro.tokens_BT.shape[0] * (micro.tokens_BT.shape[1] - 1) for micro in micros),
    )
