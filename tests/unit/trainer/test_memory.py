"""What stays alive: one state, not two; and nothing of a step that is closed."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.trainer.gradients import trainable
from runtime.trainer.update import Update
from tests.unit.trainer.test_exactness import state_bits
from tests.unit.trainer.world import OPTIM, World, bits, build


def alive(arrays: list[weakref.ref[Any]]) -> int:
    gc.collect()
    return sum(one() is not None for one in arrays)


def arrays_of(world: World) -> list[weakref.ref[Any]]:
    state = world.replicas[0].state
    assert state is not None
    return [weakref.ref(value) for value in (*state.parameters.values(), *state.optimizer.values())]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_nobody_keeps_the_state_before_an_update(deterministic: bool, compiled: bool) -> None:
    world = World(deterministic=deterministic, compiled=compiled)
    initial = arrays_of(world)
    world.step(1)
    assert alive(initial) == 0
    first = arrays_of(world)
    world.step(2)
    assert alive(first) == 0


def test_an_update_needs_no_second_optimizer_state() -> None:
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(32)]
    parameters = {name: mx.zeros((256, 256)) for name in names}
    update = Update(parameters, OPTIM, 0.0, compiled=False)
    optimizer, gradient = update.initial(parameters), {name: mx.ones((256, 256)) for name in names}
    mx.eval(parameters, optimizer, gradient)
    optimizer_bytes = sum(value.nbytes for value in optimizer.values())
    before = mx.get_active_memory()
    numbers = update.numbers(tokens=10, rate=0.1, update=1)
    parameters, optimizer = update(parameters, optimizer, gradient, mx.array(100.0), numbers)
    del gradient
    mx.reset_peak_memory()
    mx.eval(parameters, optimizer)
    assert mx.get_peak_memory() - before < optimizer_bytes / 2


def test_an_applied_step_gives_back_the_gradients_of_the_worker_s_own_shards() -> None:
    world = World(ranks=2)
    order = world.order(1)
    locals_ = world.locals(order)
    summed = world.sum(locals_)
    measured = [replica.measure(locals_[rank], summed) for rank, replica in enumerate(world.replicas)]
    assert all(local.gradients is not None for local in locals_.values())  # a death would need them
    verdict, _ = world.verdict(order, locals_, measured)
    for replica in world.replicas:
        replica.apply(verdict, world.cursor, {})
    assert all(local.gradients is None for local in locals_.values())


def test_the_model_object_holds_no_parameters_between_uses() -> None:
    world = World()
    (replica,) = world.replicas
    assert all(value.size == 0 for value in trainable(replica.model).values())
    with replica.model_in_use() as model:
        assert bits(trainable(model)) == bits(replica.trained)
    assert all(value.size == 0 for value in trainable(replica.model).values())


def test_a_run_that_goes_back_to_its_beginning_builds_the_model_anew() -> None:
    world = World()
    expected = bits(trainable(build()))
    world.step(1)
    world.replicas[0].forget()
    world.replicas[0].begin()
    assert bits(world.parameters()) == expected


def test_a_snapshot_shares_the_arrays_of_the_state() -> None:
    world = World()
    (replica,) = world.replicas
    snapshot = replica.snapshot()
    assert replica.state is not None
    assert all(snapshot.parameters[name] is value for name, value in replica.state.parameters.items())
    view = np.asarray(snapshot.parameters["model.norm.weight"])
    before = state_bits(snapshot)
    world.step(1)
    assert view.tobytes() == before["model.norm.weight"]
