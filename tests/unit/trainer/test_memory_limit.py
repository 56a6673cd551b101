"""How a micro-batch is halved, what counts as a lack of memory, and what a batch is foreseen to need."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from runtime.errors import WorkerUnfit
from runtime.events import MicroBatchHalved
from runtime.flow import Batch
from runtime.ids import Rank, Step
from runtime.trainer.device_thread import open_device_thread
from runtime.trainer.engine import Local
from runtime.trainer.fitting import Fitting
from runtime.trainer.gradients import trainable
from runtime.trainer.memory import Headroom, NoHeadroom, RowLimit, half_a_row, is_out_of_memory, most_rows
from runtime.trainer.replica import Replica
from tests.unit.trainer.world import World, build


def batch_of(micro: int = 4) -> Batch:
    world = World(micro=micro)
    return world.batch(world.order(1), 0)


@pytest.mark.parametrize(
    "text",
    [
        "[malloc] Unable to allocate 68719476736 bytes.",
        "cudaMallocAsync(&data, size, stream) failed: out of memory",
        "[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum allowed buffer size of 8",
        "[METAL] Command buffer execution failed: Insufficient Memory (00000008)",
        "std::bad_alloc",
    ],
)
def test_what_mlx_says_when_memory_is_used_up_is_recognised(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(ValueError(text))


def test_other_failures_are_not_taken_for_a_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("[matmul] shapes (3, 4) and (5, 6) do not fit"))
    assert is_out_of_memory(MemoryError())


def test_rows_are_halved_down_to_one_and_kept() -> None:
    limit = RowLimit()
    assert limit.failed(7)
    assert limit.rows == 3
    assert limit.failed(3)
    assert limit.rows == 1
    assert limit.failed(1)
    assert limit.failed(1)
    assert not limit.failed(1)


def test_a_batch_that_fits_forgives_the_failures_but_not_the_size() -> None:
    limit = RowLimit(rows=1)
    assert limit.failed(1)
    assert limit.failed(1)
    limit.fitted()
    assert limit.failed(1)
    assert limit.rows == 1


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_cut_batch_has_the_same_rows_in_the_same_order(rows: int) -> None:
    whole = batch_of()
    cut = RowLimit(rows=rows).cut(whole)
    assert most_rows(cut) == rows
    assert [shard for micro in cut.micros for shard in micro.shards] == [s for m in whole.micros for s in m.shards]
    for name in ("tokens_BT", "mask_BT"):
        rows_before = [row.tolist() for micro in whole.micros for row in getattr(micro, name)]
        assert [row.tolist() for micro in cut.micros for row in getattr(micro, name)] == rows_before
    assert cut.sample_ids == whole.sample_ids
    assert RowLimit().cut(whole) is whole
    assert RowLimit(rows=4).cut(whole) is whole


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_gradient_of_a_cut_batch_is_that_of_the_whole_one_up_to_rounding(deterministic: bool) -> None:
    worlds = [World(deterministic=deterministic, shards=2) for _ in range(2)]
    found = []
    for world, limit in zip(worlds, (RowLimit(), RowLimit(rows=1)), strict=True):
        order = world.order(1)
        local = Local(Step(1))
        world.replicas[0].add_gradients(local, limit.cut(world.batch(order, 0)))
        found.append((local, world.sum({0: local})))
    (whole, sum_of_whole), (cut, sum_of_cut) = found
    assert [(tally.tokens, tally.sample_ids) for tally in cut.tallies.values()] == [
        (tally.tokens, tally.sample_ids) for tally in whole.tallies.values()
    ]
    np.testing.assert_allclose(np.asarray(sum_of_cut), np.asarray(sum_of_whole), rtol=2e-4, atol=2e-5)


def test_half_a_row_is_the_least_that_can_be_tried() -> None:
    whole = batch_of()
    half = half_a_row(whole)
    (micro,) = half.micros
    assert len(micro.shards) == 1
    assert half.shards == micro.shards
    assert micro.tokens_BT.shape == micro.mask_BT.shape
    assert micro.tokens_BT.shape[1] == max(each.tokens_BT.shape[1] for each in whole.micros) // 2 + 1


@pytest.fixture
def small_limit() -> Iterator[int]:
    """A limit on the address space of this process, far above what it uses."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 46, before[1]))
    yield 1 << 46
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_without_a_limit_nothing_is_refused() -> None:
    headroom = Headroom(1 << 60)
    assert not headroom.is_limited
    headroom.check(batch_of())


def test_what_does_not_fit_below_the_limit_is_refused_before_it_is_tried(small_limit: int) -> None:
    headroom = Headroom(gradient_bytes=0)
    assert headroom.is_limited
    assert not headroom.is_known
    headroom.check(batch_of())
    with pytest.raises(NoHeadroom, match=r"MB needed and .* MB left"):
        Headroom(small_limit).check(batch_of())


class Tight(Replica):
    """A replica on a device with room for two rows, which says so as MLX does under CUDA."""

    room = 2

    def add_gradients(self, local: Local, batch: Batch) -> None:
        if most_rows(batch) > self.room:
            raise RuntimeError("[malloc] Unable to allocate 123 bytes.")
        if local.step > 1:
            raise RuntimeError("a bug")
        super().add_gradients(local, batch)

    def begin_next(self, local: Local, batch: Batch) -> Local | None:
        if local.step == 1:
            raise RuntimeError("[malloc] Unable to allocate 123 bytes.")
        raise RuntimeError("a bug")


def tight() -> tuple[World, Tight]:
    """On the thread that will own mlx."""
    world = World()
    of = world.replicas[0]
    replica = Tight(build(), lambda: trainable(build()), of.update, of.logical_shards, of.deterministic, of.compiled)
    replica.begin()
    return world, replica


async def test_the_halving_is_said_once_and_kept() -> None:
    said = list[MicroBatchHalved]()
    async with open_device_thread() as device:
        world, replica = await device.run(tight)
        fitting, local = Fitting(device, replica, Rank(1), said.append), Local(Step(1))
        for _ in range(2):
            await fitting.add_gradients(local, world.batch(world.order(1), 0))
        reason = "[malloc] Unable to allocate 123 bytes."
        assert said == [MicroBatchHalved(Rank(1), Step(1), 4, 2, reason)]
        assert local.tallies.keys() == set(range(world.shards))
        with pytest.raises(RuntimeError, match="a bug"):
            await fitting.add_gradients(Local(Step(2)), world.batch(world.order(2), 0))


async def test_a_device_that_was_short_of_memory_begins_no_step_beside_another() -> None:
    async with open_device_thread() as device:
        world, replica = await device.run(tight)
        fitting, batch = Fitting(device, replica, Rank(1), lambda _: None), world.batch(world.order(2), 0)
        locals_ = [Local(Step(1), following=batch) for _ in range(2)]
        fits = world.batch(world.order(1), 0)
        await fitting.add_gradients(locals_[0], fits)
        assert locals_[0].following is None, "its rows do not fit at once"


async def test_without_room_for_another_step_none_is_begun_and_no_row_is_taken_away() -> None:
    said = list[MicroBatchHalved]()
    async with open_device_thread() as device:
        world, replica = await device.run(tight)
        fitting, batch = Fitting(device, replica, Rank(1), said.append), world.batch(world.order(2), 0)
        assert await device.run(fitting.begin_next, Local(Step(1)), batch) is None
        with pytest.raises(RuntimeError, match="a bug"):
            await device.run(fitting.begin_next, Local(Step(2)), batch)
    assert said == []


@pytest.mark.parametrize("deterministic", [False, True])
async def test_below_a_limit_the_first_batch_is_tried_on_half_a_row_and_every_batch_is_measured(
    small_limit: int, deterministic: bool
) -> None:
    said = list[MicroBatchHalved]()
    async with open_device_thread() as device:
        world = await device.run(partial(World, deterministic=deterministic))
        fitting = Fitting(device, world.replicas[0], Rank(0), said.append)
        for _ in range(2):
            local = Local(Step(1))
            await fitting.add_gradients(local, world.batch(world.order(1), 0))
            assert local.tallies.keys() == set(range(world.shards))
    assert said == []


async def test_a_device_without_room_for_a_row_is_unfit() -> None:
    said = list[MicroBatchHalved]()
    async with open_device_thread() as device:
        world, replica = await device.run(tight)
        replica.room = 0
        fitting, local = Fitting(device, replica, Rank(1), said.append), Local(Step(1))
        with pytest.raises(WorkerUnfit, match=r"3 times with a single row at once \(\[malloc\] Unable"):
            await fitting.add_gradients(local, world.batch(world.order(1), 0))
        assert [(event.rows_before, event.rows) for event in said] == [(4, 2), (2, 1), (1, 1), (1, 1), (1, 1)]
        assert not local.tallies
