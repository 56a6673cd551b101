"""The feeder: the same batches whatever was fetched ahead, and nothing of the step depends on the number of workers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trio

from runtime.data.batches import Shaping
from runtime.data.feeder import Feeder, make_batch
from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.data.tokens import TokenDataset
from runtime.flow import Batch, StepOrder
from runtime.ids import Cursor, Generation, Rank, ShardId, Step

SHAPING = Shaping(4, 16)


def plan_of(dataset: TokenDataset, total: int | None = None) -> BatchPlan:
    return BatchPlan(SampleOrder(0, len(dataset)), dataset.lengths, 16, 4, total)


def order_of(step: int, owners: tuple[int, ...] = (0, 0, 0, 0, 1, 1, 1, 1), samples: int = 16) -> StepOrder:
    ranks = tuple(Rank(owner) for owner in owners)
    return StepOrder(Generation(1), Step(step), Cursor(16 * (step - 1)), samples, ranks, ranks)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches hold the same rows for the same shards at the same place."""
    rows = all(
        a.shards == b.shards and np.array_equal(a.tokens_BT, b.tokens_BT) and np.array_equal(a.mask_BT, b.mask_BT)
        for a, b in zip(one.micros, other.micros, strict=True)
    )
    return rows and replace(one, micros=()) == replace(other, micros=())


async def test_a_batch_is_the_same_ahead_of_time_or_not(ragged: TokenDataset) -> None:
    feeder = Feeder(ragged, plan_of(ragged), SHAPING, prefetch=2)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feeder.run)
            for step in range(1, 20):
                batch = await feeder.take(order_of(step), Rank(0))
                assert same(batch, make_batch(ragged, plan_of(ragged), SHAPING, order_of(step), Rank(0)))
                while feeder.idle_batches < 2:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert feeder.served_ahead == 18


async def test_without_the_work_ahead_every_batch_is_made_on_demand(ragged: TokenDataset) -> None:
    feeder = Feeder(ragged, plan_of(ragged), SHAPING)
    for step in (1, 2, 9):
        batch = await feeder.take(order_of(step), Rank(1))
        assert same(batch, make_batch(ragged, plan_of(ragged), SHAPING, order_of(step), Rank(1)))
    assert feeder.served_ahead == 0
    assert feeder.waited_seconds > 0


async def test_a_wrong_guess_is_thrown_away(ragged: TokenDataset) -> None:
    feeder = Feeder(ragged, plan_of(ragged), SHAPING, prefetch=3)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feeder.run)
            await feeder.take(order_of(1), Rank(0))
            while feeder.idle_batches < 3:
                await trio.lowlevel.checkpoint()
            survivors = order_of(2, (0,) * 8)
            batch = await feeder.take(survivors, Rank(0))
            assert same(batch, make_batch(ragged, plan_of(ragged), SHAPING, survivors, Rank(0)))
            while feeder.idle_batches < 3:
                await trio.lowlevel.checkpoint()
            assert not same(await feeder.take(order_of(3, (0,) * 8), Rank(0)), batch)
            nursery.cancel_scope.cancel()
    assert feeder.served_ahead == 1


async def test_a_batch_under_way_is_waited_for_and_not_made_twice(ragged: TokenDataset) -> None:
    feeder = Feeder(ragged, plan_of(ragged), SHAPING, prefetch=1)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feeder.run)
            await feeder.take(order_of(1), Rank(0))
            while feeder._making is None:
                await trio.lowlevel.checkpoint()
            await feeder.take(order_of(2), Rank(0))
            nursery.cancel_scope.cancel()
    assert feeder.served_ahead == 1


async def test_nothing_is_made_beyond_the_end_of_the_run(ragged: TokenDataset) -> None:
    feeder = Feeder(ragged, plan_of(ragged, total=40), SHAPING, prefetch=4)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feeder.run)
            await feeder.take(order_of(1), Rank(0))
            while feeder.idle_batches < 2:
                await trio.lowlevel.checkpoint()
            await feeder.take(order_of(2), Rank(0))
            last = await feeder.take(order_of(3, samples=8), Rank(0))
            nursery.cancel_scope.cancel()
    assert sum(map(len, last.sample_ids.values())) == 4
    assert (feeder.served_ahead, feeder.idle_batches) == (2, 0)


async def test_an_order_of_another_run_is_refused(ragged: TokenDataset) -> None:
    with pytest.raises(ValueError, match="no step of this run"):
        await Feeder(ragged, plan_of(ragged), SHAPING).take(replace(order_of(1), cursor=Cursor(5)), Rank(0))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_the_global_batch_does_not_depend_on_the_number_of_workers(
    ragged: TokenDataset, workers: int, deterministic: bool
) -> None:
    shaping = Shaping(4, 16, deterministic)
    alone = make_batch(ragged, plan_of(ragged), shaping, order_of(3, (0,) * 8), Rank(0))
    order = order_of(3, tuple(shard * workers // 8 for shard in range(8)))
    parts = [make_batch(ragged, plan_of(ragged), shaping, order, Rank(rank)) for rank in range(workers)]
    together = {shard: ids for part in parts for shard, ids in part.sample_ids.items()}
    assert together == alone.sample_ids
    assert sum(part.useful_tokens for part in parts) == alone.useful_tokens
    if deterministic:
        rows = [micro.tokens_BT.tobytes() for part in parts for micro in part.micros]
        assert rows == [micro.tokens_BT.tobytes() for micro in alone.micros]


def test_a_dead_workers_shards_are_taken_over_one_by_one(ragged: TokenDataset) -> None:
    nobody = Rank(-1)
    order = replace(order_of(3), owners=(*[nobody] * 6, Rank(0), Rank(0)))
    batch = make_batch(ragged, plan_of(ragged), SHAPING, order, Rank(0))
    whole = make_batch(ragged, plan_of(ragged), SHAPING, order_of(3, (0,) * 8), Rank(0))
    assert batch.shards == (ShardId(6), ShardId(7))
    assert batch.sample_ids == {shard: whole.sample_ids[shard] for shard in batch.shards}


def test_positions_and_tokens_are_counted(ragged: TokenDataset) -> None:
    batch = make_batch(ragged, plan_of(ragged), SHAPING, order_of(1), Rank(0))
    samples = [sample for ids in batch.sample_ids.values() for sample in ids]
    assert batch.useful_tokens == sum(ragged.length(sample) - 1 for sample in samples)
    assert batch.computed_positions == sum(m.tokens_BT.shape[0] * (m.tokens_BT.shape[1] - 1) for m in batch.micros)
