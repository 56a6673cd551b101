"""Slices of the optimizer's state: the bits of an unsharded run, whoever holds what, comes and goes."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from runtime.cluster.slices import SLICES, held_by
from runtime.ids import Rank
from tests.unit.trainer.sharded_world import ShardedWorld
from tests.unit.trainer.world import World, bits

STEPS = 4


def trained(world: World, steps: int = STEPS) -> World:
    for step in range(1, steps + 1):
        world.step(step)
    return world


@pytest.fixture(scope="module")
def unsharded() -> World:
    return trained(World(deterministic=True))


@pytest.mark.parametrize(("ranks", "copies"), [(1, 2), (2, 1), (2, 2), (3, 2), (4, 1), (4, 2)])
def test_sharded_and_unsharded_bits_are_equal(ranks: int, copies: int, unsharded: World) -> None:
    world = trained(ShardedWorld(ranks=ranks, copies=copies, deterministic=True))
    for member in world.replicas:
        assert bits(member.snapshot().parameters) == bits(unsharded.replicas[0].snapshot().parameters)
    assert bits(world.optimizer()) == bits(unsharded.replicas[0].snapshot().optimizer)


def test_compiled_slices_give_the_same_bits() -> None:
    plain = trained(World(deterministic=True, compiled=True), 2)
    world = trained(ShardedWorld(ranks=2, copies=1, deterministic=True, compiled=True), 2)
    assert bits(world.parameters(1)) == bits(plain.parameters())


@pytest.mark.parametrize(("ranks", "copies"), [(2, 1), (3, 2)])
def test_a_sum_that_reaches_its_keepers_alone_trains_as_one_that_reaches_everybody(ranks: int, copies: int) -> None:
    whole, scattered = (ShardedWorld(ranks=ranks, copies=copies, in_parts=in_parts) for in_parts in (False, True))
    for step in range(1, STEPS + 1):
        norms = [world.step(step).committed.grad_norm for world in (whole, scattered)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    ours = [scattered.parameters(rank) for rank in range(ranks)]
    assert all(bits(each) == bits(ours[0]) for each in ours)
    for name, expected in whole.parameters().items():
        np.testing.assert_allclose(ours[0][name], expected, rtol=1e-5, atol=1e-6)
    scattered.optimizer()  # asserts that copies are equal to the bit


def test_whoever_hands_a_slice_on_forgets_it_with_the_update_that_it_has_no_gradient_for() -> None:
    world = ShardedWorld(ranks=3, copies=1, in_parts=True)
    world.step(1)
    moved = world.dealt((0, 1, 2), tuple((Rank((have[0] + 1) % 3),) for have in world.holders))
    world.spread(moved)
    (first, *_) = world.replicas
    assert first.slices is not None
    assert set(held_by(Rank(0), moved)) < set(first.slices.held)
    world.step(2)
    assert first.slices.held == held_by(Rank(0), moved)
    world.step(3)
    assert bits(world.parameters(0)) == bits(world.parameters(2))


def test_a_lost_worker_takes_no_slice_with_it_and_a_newcomer_is_given_its_share(unsharded: World) -> None:
    world = ShardedWorld(ranks=3, deterministic=True)
    world.step(1)
    world.replicas[1].forget()  # it dies: whoever is left holds everything between them
    world.holders = tuple(tuple(rank for rank in have if rank != 1) for have in world.holders)
    world.spread(world.dealt((0, 2), world.holders), (0, 2))
    state = world.replicas[0].state
    assert state is not None
    world.replicas[1].assume(state.step, state.cursor, state.counters)  # it is back, with nothing
    came = world.spread(world.dealt((0, 1, 2), world.holders))
    assert came[1] > 0 == came[0] == came[2]
    for step in range(2, STEPS + 1):
        world.step(step)
    assert [bits(world.parameters(rank)) for rank in range(3)] == [bits(unsharded.parameters())] * 3
    assert bits(world.optimizer()) == bits(unsharded.replicas[0].snapshot().optimizer)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_optimizer_takes_its_share_of_memory(ranks: int, copies: int) -> None:
    world = ShardedWorld(ranks=ranks, copies=copies, slices=SLICES)
    whole = 2 * 4 * world.replicas[0].update.layout.size  # two moments of four bytes
    for member in world.replicas:
        assert member.state is not None
        held = sum(value.nbytes for value in member.state.optimizer.values())
        assert held == pytest.approx(whole * min(copies, ranks) / ranks, rel=0.05)


def test_after_an_update_a_replica_has_only_its_own_pieces_until_the_others_come() -> None:
    world = ShardedWorld(ranks=2, copies=1, deterministic=True)
    super(ShardedWorld, world).step(1)
    (first, _) = world.replicas
    assert first.state is not None
    assert first.slices is not None
    assert first.state.parameters == {}
    own = sum(value.size for value in first.slices.weights.values())
    assert own == sum(stop - start for start, stop in map(world.span, held_by(Rank(0), world.holders)))
    world.spread(world.holders)
    assert first.state.parameters.keys() == first.shapes.keys()
    assert first.slices.weights == {}


def test_a_skipped_step_changes_no_bit() -> None:
    world = ShardedWorld(ranks=2, copies=1, deterministic=True)
    world.step(1)
    before = [bits(world.parameters(rank)) for rank in range(2)], bits(world.optimizer())
    order = world.order(2)
    locals_ = world.locals(order)
    summed = np.full_like(world.sum(locals_), np.nan)
    measured = [member.measure(locals_[rank], summed) for rank, member in enumerate(world.replicas)]
    verdict, counters = world.verdict(order, locals_, measured)
    assert not verdict.committed.applied
    for member in world.replicas:
        member.apply(verdict, world.cursor, counters)
    world.spread(world.holders)
    assert ([bits(world.parameters(rank)) for rank in range(2)], bits(world.optimizer())) == before


def test_sixteen_bit_parameters_and_their_masters_move_to_the_bit() -> None:
    world = ShardedWorld(ranks=2, copies=1, deterministic=True)
    slices = world.replicas[0].slices
    assert slices is not None
    half = {name: mx.random.normal(shape).astype(mx.bfloat16) for name, shape in world.replicas[0].shapes.items()}
    state = slices.update.initial(half)
    assert (
        slices.slicing.cut_state(state, range(world.slices)).keys()
        == slices.update.initial(slices.slicing.cut(half, range(world.slices))).keys()
    )
    whole = slices.slicing.joined(slices.slicing.cut(half, range(world.slices)), None, {})
    assert bits({name: value.view(mx.uint16) for name, value in whole.items()}) == bits(
        {name: value.view(mx.uint16) for name, value in half.items()}
    )
