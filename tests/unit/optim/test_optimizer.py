"""What all optimizers have in common: masters, groups, compilation, and what `elementwise` promises."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.config.train import OptimSettings
from runtime.optim.optimizer import RULES, Optimizer
from runtime.optim.rule import decayed

NAMES = sorted(RULES)
MATRIX, VECTOR = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.bias"
SHAPES = {MATRIX: (6, 4), VECTOR: (6,), "model.embed_tokens.weight": (5, 4)}


def of(name: Any, **more: Any) -> Optimizer:
    return Optimizer(OptimSettings(name=name, **{"weight_decay": 0.1, **more}))


def draw(seed: int, dtype: mx.Dtype = mx.float32) -> dict[str, mx.array]:
    dice = np.random.default_rng(seed)
    return {
        name: mx.array(dice.standard_normal(shape).astype(np.float32)).astype(dtype) for name, shape in SHAPES.items()
    }


def bits(arrays: dict[str, mx.array]) -> dict[str, bytes]:
    return {name: bytes(memoryview(array)) for name, array in arrays.items()}


def trained(optimizer: Optimizer, parameters: dict[str, mx.array], updates: int = 3) -> Any:
    state = optimizer.init(parameters)
    for t in range(1, updates + 1):
        parameters, state = optimizer.update(parameters, draw(t), state, lr=1e-2, step=t)
        mx.eval(parameters, state)
    return parameters, state


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_a_sixteen_bit_parameter_is_its_master_rounded_once(name: str, dtype: mx.Dtype) -> None:
    half = draw(0, dtype)
    parameters, state = trained(of(name), half)
    masters = {key: state[f"master.{key}"] for key in SHAPES}
    wide, _ = trained(of(name), {key: value.astype(mx.float32) for key, value in half.items()})
    assert bits(masters) == bits(wide)  # what a fp32 run does from the same point
    assert all(value.dtype == mx.float32 for value in state.values())
    assert all(mx.array_equal(parameters[key], masters[key].astype(dtype)).item() for key in SHAPES)


@pytest.mark.parametrize("name", NAMES)
def test_masters_learn_what_sixteen_bits_would_round_away(name: str) -> None:
    optimizer = of(name, weight_decay=0.0)
    parameters = {MATRIX: mx.ones((4, 4), mx.bfloat16)}
    state = optimizer.init(parameters)
    gradients = {MATRIX: mx.eye(4) + 0.1}
    for t in range(1, 41):
        before = parameters
        parameters, state = optimizer.update(parameters, gradients, state, lr=1e-4, step=t)
        mx.eval(parameters, state)
        assert t > 1 or mx.array_equal(parameters[MATRIX], before[MATRIX]).item()
    assert np.array(state[f"master.{MATRIX}"]).diagonal().max() < 1 - 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_fp32_parameters_have_no_masters(name: str) -> None:
    assert not any(key.startswith("master.") for key in of(name).init(draw(0)))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_in_place(name: str) -> None:
    """A snapshot is references to old arrays: an update must leave them as they are."""
    optimizer, parameters = of(name), draw(0)
    state = optimizer.init(parameters)
    mx.eval(parameters, state)
    before = bits(parameters), bits(state)
    mx.eval(optimizer.update(parameters, draw(1), state, lr=0.1, step=1))
    assert (bits(parameters), bits(state)) == before


@pytest.mark.parametrize("name", NAMES)
def test_one_compilation_serves_every_rate_and_step(name: str) -> None:
    mx.enable_compile()  # a worker prepared in this process for a short run on a CPU has switched it off
    optimizer, traced = of(name), []

    def one(parameters: Any, gradients: Any, state: Any, lr: mx.array, step: mx.array) -> Any:
        traced.append(1)
        return optimizer.update(parameters, gradients, state, lr=lr, step=step)

    compiled, parameters = mx.compile(one), draw(0)
    state = optimizer.init(parameters)
    for t in range(1, 4):
        parameters, state = compiled(parameters, draw(t), state, mx.array(1e-2 / t), mx.array(float(t)))
    assert len(traced) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if RULES[name].elementwise])
def test_a_slice_is_updated_to_the_same_bits_as_the_whole(name: str) -> None:
    """What a sharded state rests on: cut anywhere, flat, with the decay group of the whole parameter."""
    optimizer = of(name)
    whole, state = trained(optimizer, draw(0, mx.bfloat16))
    names = decayed(SHAPES)
    assert names == {MATRIX}
    for start, stop in ((0, 5), (5, 6), (6, 24)):

        def cut(arrays: dict[str, mx.array], start: int = start, stop: int = stop) -> dict[str, mx.array]:
            return {key: value.reshape(-1)[start:stop] for key, value in arrays.items()}

        parameters = cut(draw(0, mx.bfloat16))
        pieces = optimizer.init(parameters)
        for t in range(1, 4):
            parameters, pieces = optimizer.update(
                parameters, cut(draw(t)), pieces, lr=1e-2, step=t, decayed_names=names
            )
            mx.eval(parameters, pieces)
        assert bits(parameters) == bits({key: mx.contiguous(value) for key, value in cut(whole).items()})
        assert bits(pieces) == bits({key: mx.contiguous(value) for key, value in cut(state).items()})


def test_muon_and_adafactor_need_whole_parameters() -> None:
    assert {name for name in NAMES if not of(name).elementwise} == {"muon", "adafactor"}


@pytest.mark.parametrize("name", NAMES)
def test_decay_pulls_matrices_only_unless_all_are_to_decay(name: str) -> None:
    parameters = draw(0)
    gradients = {key: mx.zeros_like(value) for key, value in parameters.items()}
    for everywhere in (False, True):
        optimizer = of(name, decay_all=everywhere)
        new, _ = optimizer.update(parameters, gradients, optimizer.init(parameters), lr=0.5, step=1)
        changed = {key for key in SHAPES if not mx.array_equal(new[key], parameters[key]).item()}
        assert changed == (set(SHAPES) if everywhere else {MATRIX})
