"""Updates that are begun before their verdicts: the same bits, and no trace of one that was not wanted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cluster.messages import Verdict
from runtime.ids import Cursor, Step
from runtime.trainer.ahead import Ahead, has_room
from runtime.trainer.engine import Local
from runtime.trainer.update import square_sum_of
from tests.unit.trainer.test_exactness import state_bits
from tests.unit.trainer.world import LEARNING_RATE, World, as_numpy, bits

PLENTY = 1 << 50


def begun(world: World, step: int = 1, **changes: float) -> tuple[Local, Verdict]:
    """A step up to its verdict, with its update begun if there is room; the verdict is the expected with `changes`."""
    order = world.order(step)
    locals_ = world.locals(order)
    assert isinstance(locals_[0].ahead, Ahead) == (world.memory_bytes > 0)
    measured = [world.replicas[0].measure(locals_[0], None)]
    verdict, _ = world.verdict(order, locals_, measured)
    fields = {key: value for key, value in changes.items() if key == "learning_rate"}
    committed = replace(verdict.committed, **{key: changes[key] for key in changes.keys() - fields.keys()})
    return locals_[0], replace(verdict, committed=committed, **fields)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_an_update_that_was_begun_has_the_bits_of_one_that_waited(deterministic: bool, compiled: bool) -> None:
    worlds = [World(deterministic=deterministic, compiled=compiled, memory_bytes=memory) for memory in (PLENTY, 0)]
    for step in range(1, 4):
        begun(worlds[0], step)
        for world in worlds:
            world.step(step)
    ahead, waiting = (state_bits(world.replicas[0].snapshot()) for world in worlds)
    assert ahead == waiting


@pytest.mark.parametrize("changes", [{"clip_norm": 1e-3}, {"learning_rate": LEARNING_RATE / 2}, {"grad_norm": 0.125}])
def test_a_verdict_with_other_numbers_is_carried_out_as_it_stands(changes: dict[str, float]) -> None:
    found = []
    for memory in (PLENTY, 0):
        world = World(memory_bytes=memory)
        _, verdict = begun(world, **changes)
        world.replicas[0].apply(verdict, Cursor(16), {})
        found.append(state_bits(world.replicas[0].snapshot()))
    assert found[0] == found[1]


def test_a_skipped_step_leaves_the_state_as_it_was() -> None:
    world = World(memory_bytes=PLENTY)
    before = state_bits(world.replicas[0].snapshot())
    _, verdict = begun(world, applied=False)
    world.replicas[0].apply(verdict, Cursor(16), {})
    assert state_bits(world.replicas[0].snapshot()) == before
    assert world.replicas[0].snapshot().step == 1


def test_a_sum_with_others_parts_drops_what_was_begun_alone() -> None:
    world = World(memory_bytes=PLENTY)
    local, _ = begun(world)
    (part,) = world.replicas[0].parts(local, (0, 1)).values()
    world.replicas[0].measure(local, part * 2)
    assert local.ahead is None
    assert world.replicas[0].prepared[Step(1)].square_sum == pytest.approx(4 * np.sum(part.astype(np.float64) ** 2))


def test_nothing_is_begun_without_room_or_before_the_numbers_are_known() -> None:
    assert has_room(state_bytes=40, active_bytes=50, memory_bytes=100)
    assert not has_room(state_bytes=41, active_bytes=50, memory_bytes=100)
    assert not has_room(state_bytes=1, active_bytes=0, memory_bytes=0)
    world = World(memory_bytes=PLENTY)
    unknown = Local(Step(1), alone=True)
    world.replicas[0].add_gradients(unknown, world.batch(world.order(1), 0))
    assert unknown.ahead is None


@given(st.floats(2.0**-100, 2.0**100, width=32), st.integers(1, 1 << 24))
def test_the_sum_of_squares_comes_back_from_a_norm_to_the_bit(square_sum: float, tokens: int) -> None:
    assert square_sum_of(math.sqrt(square_sum) / tokens, tokens) == square_sum


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_that_was_begun_before_its_order_has_the_same_bits(compiled: bool) -> None:
    eager, patient = (World(micro=16, compiled=compiled, memory_bytes=memory) for memory in (PLENTY, 0))
    eager.step(1)
    patient.step(1)
    local, verdict = begun(eager, 2)
    replica, cursor = eager.replicas[0], Cursor(eager.cursor + eager.global_batch)
    batch = eager.batch(replace(eager.order(3), cursor=cursor), 0)
    following = replica.begin_next(local, batch)
    assert following is not None
    foreseen = following.begun.gradients
    replica.apply(verdict, cursor, {})
    following.alone = True
    replica.add_gradients(following, batch)
    assert following.gradients is foreseen
    patient.step(2)
    expected = Local(Step(3))
    patient.replicas[0].add_gradients(expected, batch)
    assert bits(as_numpy(foreseen)) == bits(as_numpy(expected.gradients))
    assert following.tallies == expected.tallies


def test_the_step_after_is_begun_with_the_present_one_where_its_batch_lies_ready() -> None:
    eager, patient = (World(micro=16, memory_bytes=memory) for memory in (PLENTY, 0))
    for world in (eager, patient):
        world.step(1)
    first, cursor = eager.order(2), Cursor(eager.cursor + eager.global_batch)
    following = eager.batch(replace(eager.order(3), cursor=cursor), 0)
    local = Local(first.step, alone=True, learning_rate=LEARNING_RATE, update=2, following=following)
    eager.replicas[0].add_gradients(local, eager.batch(first, 0))
    assert local.next is not None
    assert (local.next.step, local.next.begun.batch) == (Step(3), following)
    patient.step(2)
    expected = Local(Step(3))
    patient.replicas[0].add_gradients(expected, following)
    assert bits(as_numpy(local.next.begun.gradients)) == bits(as_numpy(expected.gradients))
    eager.replicas[0].measure(local, mx.zeros(eager.replicas[0].update.layout.size))
    assert local.next is None, "with others' parts in the sum it is of no use"


@pytest.mark.parametrize("surprise", ["a skipped step", "another batch"])
def test_what_was_begun_for_another_step_is_passed_by(surprise: str) -> None:
    world = World(micro=16, memory_bytes=PLENTY)
    local, verdict = begun(world, 1)
    replica, order = world.replicas[0], replace(world.order(2), cursor=Cursor(16))
    batch = world.batch(order, 0)
    following = replica.begin_next(local, batch)
    assert following is not None
    foreseen = following.begun.gradients
    applied = surprise != "a skipped step"
    replica.apply(replace(verdict, committed=replace(verdict.committed, applied=applied)), Cursor(16), {})
    replica.add_gradients(following, batch if not applied else world.batch(order, 0))
    assert following.gradients is not foreseen
    assert len(following.tallies) == world.shards


@pytest.mark.parametrize("settings", [{"deterministic": True}, {"micro": 4}])
def test_only_a_single_micro_batch_is_begun_before_its_order(settings: dict[str, Any]) -> None:
    world = World(memory_bytes=PLENTY, **({"micro": 16} | settings))
    local, _ = begun(world)
    assert world.replicas[0].begin_next(local, world.batch(world.order(2), 0)) is None
    assert world.replicas[0].begin_next(Local(Step(1)), world.batch(world.order(2), 0)) is None


def test_the_only_micro_batch_keeps_its_sixteen_bits_and_loses_none() -> None:
    world = World(dtype=mx.bfloat16, compute=None, micro=16)
    order = world.order(1)
    batch = world.batch(order, 0)
    (micro,) = batch.micros
    replica = world.replicas[0]
    kept = world.locals(order)[0].gradients
    assert {value.dtype for value in kept.values()} == {mx.bfloat16}
    _, summed = replica.functions.add(replica.trained, None, micro.tokens_BT, micro.mask_BT)
    assert {value.dtype for value in summed.values()} == {mx.float32}
    assert bits(as_numpy({name: value.astype(mx.float32) for name, value in kept.items()})) == bits(as_numpy(summed))
