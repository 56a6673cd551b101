"""How many shapes a worker meets, how often it compiles, and when the last time was."""

from __future__ import annotations

import numpy as np

from runtime.trainer.gradients import GradientFunctions, trainable
from tests.unit.trainer.world import World, build


def test_a_step_is_compiled_once_for_each_shape_and_never_again() -> None:
    model = build()
    functions, parameters, counts = GradientFunctions(model, compiled=True), trainable(model), []
    for rows, tokens in [(2, 5), (2, 9), (2, 5), (2, 9), (2, 5)]:  # nothing is evaluated: no compiler is started
        given = np.ones((rows, tokens), np.int32), np.ones((rows, tokens), np.float32)
        _, first = functions.add(parameters, None, *given)
        functions.add(parameters, first, *given)
        counts.append((len(functions.shapes), functions.traced))
    assert counts == [(1, 2), (2, 4), (2, 4), (2, 4), (2, 4)]


def test_a_replica_knows_the_step_after_which_it_met_no_new_shape() -> None:
    world = World(deterministic=True)
    (replica,) = world.replicas
    met = []
    for step in range(1, 9):
        world.step(step)
        met.append((len(replica.functions.shapes), replica.settled_step))
    assert met[0] == (1, 1)
    grown = [step for step in range(2, 9) if met[step - 1][0] > met[step - 2][0]]
    assert met[-1][1] == max(grown, default=1)
    assert replica.functions.traced == 0
