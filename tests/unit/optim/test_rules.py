"""Each optimizer against the plain float64 program of `plain`, and against mlx's own where that is the same formula."""

from __future__ import annotations

from typing import Any, get_args

import mlx.core as mx
import mlx.optimizers
import numpy as np
import pytest

from runtime.config.train import OptimSettings
from runtime.optim.muon import orthogonalised
from runtime.optim.optimizer import RULES, Optimizer
from tests.unit.optim import plain

SHAPES = {
    "model.embed_tokens.weight": (11, 6),
    "model.layers.0.mlp.up_proj.weight": (7, 6),
    "model.layers.0.mlp.down_proj.weight": (6, 9),
    "model.layers.0.mlp.up_proj.bias": (7,),
    "model.layers.0.input_layernorm.weight": (6,),
    "lm_head.weight": (11, 6),
}
DECAYED = {"model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight", "lm_head.weight"}
DECAY = 0.1
UPDATES = 20


def draw(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    dice = np.random.default_rng(seed)
    return {name: dice.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def on_device(arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, mx.array]:
    return {name: mx.array(array) for name, array in arrays.items()}


def settings(name: Any, **more: Any) -> OptimSettings:
    return OptimSettings(name=name, betas=plain.BETAS, eps=plain.EPS, weight_decay=DECAY, **more)


def rate(t: int) -> float:
    return 1e-2 / t


def trained(name: str) -> dict[str, mx.array]:
    """Parameters after `UPDATES` updates."""
    optimizer = Optimizer(settings(name))
    parameters = on_device(draw(0))
    state = optimizer.init(parameters)
    for t in range(1, UPDATES + 1):
        lr, step = mx.array(rate(t)), mx.array(float(t))
        parameters, state = optimizer.update(parameters, on_device(draw(t)), state, lr=lr, step=step)
        mx.eval(parameters, state)
    return parameters


@pytest.mark.parametrize("name", sorted(RULES))
def test_twenty_updates_are_those_of_the_plain_program(name: str) -> None:
    expected = {key: value.astype(np.float64) for key, value in draw(0).items()}
    states: dict[str, plain.State] = {key: {} for key in expected}
    for t in range(1, UPDATES + 1):
        for key, gradient in draw(t).items():
            step = plain.step_of(name, key, gradient.ndim)
            decay = DECAY if key in DECAYED else 0.0
            expected[key] = step(expected[key], gradient.astype(np.float64), states[key], rate(t), t, decay)
    ours = trained(name)
    for key, value in expected.items():
        np.testing.assert_allclose(np.array(ours[key]), value, rtol=1e-5, atol=1e-6, err_msg=key)


def test_every_name_of_the_configuration_has_a_rule() -> None:
    assert set(RULES) == set(get_args(OptimSettings.model_fields["name"].annotation))


def theirs(optimizer: mlx.optimizers.Optimizer, start: mx.array) -> mx.array:
    """Twenty updates of one parameter by mlx's optimizer."""
    tree = {"w": start}
    for t in range(1, UPDATES + 1):
        tree = optimizer.apply_gradients({"w": gradient_at(t, start.shape)}, tree)
        mx.eval(tree, optimizer.state)
    return tree["w"]


def gradient_at(t: int, shape: tuple[int, ...]) -> mx.array:
    return mx.array(np.random.default_rng(t).standard_normal(shape).astype(np.float32))


def ours(name: str, parameter: str, start: mx.array, **more: Any) -> mx.array:
    optimizer = Optimizer(settings(name, **more))
    parameters = {parameter: start}
    state = optimizer.init(parameters)
    for t in range(1, UPDATES + 1):
        parameters, state = optimizer.update(
            parameters, {parameter: gradient_at(t, start.shape)}, state, lr=1e-2, step=t
        )
        mx.eval(parameters, state)
    return parameters[parameter]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adamw", lambda: mlx.optimizers.AdamW(1e-2, list(plain.BETAS), plain.EPS, DECAY, bias_correction=True)),
        ("sgd", lambda: mlx.optimizers.SGD(1e-2, plain.BETAS[0], DECAY)),
        ("lion", lambda: mlx.optimizers.Lion(1e-2, list(plain.BETAS), DECAY)),
        (
            "adafactor",
            lambda: mlx.optimizers.Adafactor(1e-2, weight_decay=DECAY, scale_parameter=False, relative_step=False),
        ),
    ],
)
@pytest.mark.parametrize("shape", [(7, 6), (2, 5, 3)])
def test_where_mlx_has_the_same_formula_the_updates_are_mlx_s(
    name: str, reference: Any, shape: tuple[int, ...]
) -> None:
    start = gradient_at(0, shape)
    found = ours(name, "model.layers.0.mlp.up_proj.weight", start)
    np.testing.assert_allclose(np.array(found), np.array(theirs(reference(), start)), rtol=2e-5, atol=2e-6)


def test_muon_is_mlx_s_but_for_the_decay_and_the_size_of_an_update() -> None:
    start = gradient_at(0, (8, 4))
    size = 0.2 * 8**0.5  # mlx: sqrt(rows / columns) of a tall matrix
    reference = mlx.optimizers.Muon(1e-2 * size / 2**0.5, momentum=plain.BETAS[0], weight_decay=0.0)
    found = Optimizer(settings("muon").model_copy(update={"weight_decay": 0.0}))
    parameters, name = {"layers.0.w": start}, "layers.0.w"
    state = found.init(parameters)
    for t in range(1, UPDATES + 1):
        parameters, state = found.update(parameters, {name: gradient_at(t, (8, 4))}, state, lr=1e-2, step=t)
    np.testing.assert_allclose(np.array(parameters[name]), np.array(theirs(reference, start)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 6), (3, 9), (9, 3), (4, 5, 7)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    found = np.array(orthogonalised(gradient_at(1, shape)))
    singular = np.linalg.svd(found, compute_uv=False)
    assert singular.max() < 1.3
    assert singular.mean() > 0.6


def test_experts_are_orthogonalised_one_by_one() -> None:
    stacked = gradient_at(1, (3, 5, 4))
    alone = mx.stack([orthogonalised(stacked[index]) for index in range(3)])
    np.testing.assert_allclose(np.array(orthogonalised(stacked)), np.array(alone), rtol=1e-5, atol=1e-6)


def test_a_gradient_of_zeros_moves_no_matrix() -> None:
    zeros = mx.zeros((4, 3))
    assert not np.any(np.array(orthogonalised(zeros)))
    for name in RULES:
        optimizer = Optimizer(settings(name).model_copy(update={"weight_decay": 0.0}))
        parameters = {"layers.0.w": mx.ones((4, 3)), "layers.0.b": mx.ones(3)}
        gradients = {"layers.0.w": zeros, "layers.0.b": mx.zeros(3)}
        after, _ = optimizer.update(parameters, gradients, optimizer.init(parameters), lr=0.1, step=1)
        assert all(np.array_equal(np.array(after[key]), np.array(parameters[key])) for key in parameters)


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("model.layers.1.self_attn.q_proj.weight", {"m"}),
        ("model.layers.1.self_attn.q_proj.lora_a", {"m"}),
        ("model.layers.1.mlp.experts.up_proj.weight", {"m"}),
        ("model.layers.1.post_attention_layernorm.weight", {"m", "v"}),
        ("model.layers.1.mixer.conv1d.weight", {"m", "v"}),
        ("model.layers.1.embed_per_layer.weight", {"m", "v"}),
        ("model.embed_tokens.weight", {"m", "v"}),
        ("lm_head.weight", {"m", "v"}),
    ],
)
def test_what_muon_orthogonalises(name: str, moments: set[str]) -> None:
    shape = (2, 4, 4) if "experts" in name else (4, 4)
    assert set(RULES["muon"].moments(name, shape)) == moments


def test_adafactor_remembers_rows_and_columns_only() -> None:
    state = Optimizer(settings("adafactor")).init({"w": mx.zeros((7, 5)), "e": mx.zeros((2, 7, 5)), "b": mx.zeros(5)})
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {"row.w": (7,), "col.w": (5,), "row.e": (2, 7), "col.e": (2, 5), "v.b": (5,)}
