from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from runtime.optim import adamw

SHAPES = {
    "model.embed_tokens.weight": (11, 6),
    "model.layers.0.mlp.up_proj.weight": (7, 6),
    "model.layers.0.mlp.up_proj.bias": (7,),
    "model.layers.0.input_layernorm.weight": (6,),
    "lm_head.weight": (11, 6),
}
DECAYED = {"model.layers.0.mlp.up_proj.weight", "lm_head.weight"}
OPTIONS = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}


def draw(seed: int, scale: float = 1.0) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(seed)
    return {name: (dice.standard_normal(shape) * scale).astype(np.float32) for name, shape in SHAPES.items()}


def on_device(arrays: dict[str, np.ndarray], dtype: mx.Dtype = mx.float32) -> dict[str, mx.array]:
    return {name: mx.array(array).astype(dtype) for name, array in arrays.items()}


def reference(parameters, gradients_of, steps, lr_of, *, decay_all=False, betas, eps, weight_decay):
    """The formula of torch.optim.AdamW in float64, parameter by parameter."""
    p = {name: value.astype(np.float64) for name, value in parameters.items()}
    m = {name: np.zeros_like(value) for name, value in p.items()}
    v = {name: np.zeros_like(value) for name, value in p.items()}
    for t in range(1, steps + 1):
        for name, g in gradients_of(t).items():
            lr = lr_of(t)
            if decay_all or name in DECAYED:
                p[name] *= 1 - lr * weight_decay
            m[name] = betas[0] * m[name] + (1 - betas[0]) * g
            v[name] = betas[1] * v[name] + (1 - betas[1]) * g.astype(np.float64) ** 2
            m_hat, v_hat = m[name] / (1 - betas[0] ** t), v[name] / (1 - betas[1] ** t)
            p[name] -= lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def train(parameters, gradients_of, steps, lr_of, *, compiled=False, **options):
    def one(parameters, gradients, state, lr, step):
        return adamw.update(parameters, gradients, state, lr=lr, step=step, **options)

    one = mx.compile(one) if compiled else one
    state = adamw.init(parameters)
    for t in range(1, steps + 1):
        lr, step = mx.array(lr_of(t), mx.float32), mx.array(t, mx.float32)
        parameters, state = one(parameters, on_device(gradients_of(t)), state, lr, step)
        mx.eval(parameters, state)
    return parameters, state


def rate(t: int) -> float:
    return 1e-2 / t


def bits(arrays: dict[str, mx.array]) -> dict[str, bytes]:
    return {name: bytes(memoryview(array)) for name, array in arrays.items()}


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_it_is_the_formula_of_adamw_in_float64(steps: int, decay_all: bool) -> None:
    expected = reference(draw(0), draw, steps, rate, decay_all=decay_all, **OPTIONS)
    ours, _ = train(on_device(draw(0)), draw, steps, rate, decay_all=decay_all, **OPTIONS)
    for name, value in expected.items():
        np.testing.assert_allclose(np.array(ours[name]), value, rtol=2e-6, atol=2e-7, err_msg=name)


def test_it_is_torch_where_torch_is_there() -> None:
    torch = pytest.importorskip("torch")
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in draw(0).items()}
    groups = [
        {"params": [theirs[name] for name in SHAPES if name in DECAYED], "weight_decay": 0.1},
        {"params": [theirs[name] for name in SHAPES if name not in DECAYED], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)
    for t in range(1, 21):
        for name, gradient in draw(t).items():
            theirs[name].grad = torch.tensor(gradient)
        for group in optimizer.param_groups:
            group["lr"] = rate(t)
        optimizer.step()
    ours, _ = train(on_device(draw(0)), draw, 20, rate, **OPTIONS)
    for name in SHAPES:
        np.testing.assert_allclose(np.array(ours[name]), theirs[name].detach().numpy(), rtol=2e-6, atol=2e-7)


def test_bias_correction_is_exact_where_fp32_would_lose_it() -> None:
    """At step 1 both corrections cancel: |update| is lr, whatever the betas."""
    parameters, gradients = {"w": mx.zeros((2, 2))}, {"w": mx.full((2, 2), 1e-3)}
    new, _ = adamw.update(
        parameters, gradients, adamw.init(parameters), lr=1.0, step=1, betas=(0.9, 0.99999), eps=1e-12
    )
    np.testing.assert_allclose(np.array(new["w"]), -1.0, rtol=1e-6)


def test_decay_pulls_matrices_only_unless_all_are_to_decay() -> None:
    parameters = on_device(draw(0))
    gradients = {name: mx.zeros_like(value) for name, value in parameters.items()}
    new, _ = adamw.update(parameters, gradients, adamw.init(parameters), lr=0.5, step=1, weight_decay=0.1)
    changed = {name for name in SHAPES if not mx.array_equal(new[name], parameters[name]).item()}
    assert changed == DECAYED
    np.testing.assert_allclose(
        np.array(new["lm_head.weight"]), np.array(parameters["lm_head.weight"]) * 0.95, rtol=1e-6
    )
    new, _ = adamw.update(
        parameters, gradients, adamw.init(parameters), lr=0.5, step=1, weight_decay=0.1, decay_all=True
    )
    assert not any(mx.array_equal(new[name], parameters[name]).item() for name in SHAPES)


@pytest.mark.parametrize(
    ("name", "ndim", "expected"),
    [
        ("model.layers.3.self_attn.q_proj.weight", 2, True),
        ("model.layers.3.mlp.experts.up_proj.weight", 3, True),
        ("model.layers.3.self_attn.q_proj.lora_a", 2, True),
        ("lm_head.weight", 2, True),
        ("model.layers.3.self_attn.q_proj.bias", 1, False),
        ("model.layers.3.post_attention_layernorm.weight", 1, False),
        ("model.norm.weight", 2, False),
        ("model.embed_tokens.weight", 2, False),
        ("transformer.wte.weight", 2, False),
    ],
)
def test_what_decays(name: str, ndim: int, expected: bool) -> None:
    assert adamw.decays(name, ndim) is expected


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_sixteen_bit_parameters_learn_through_their_masters(dtype: mx.Dtype) -> None:
    """Updates far below the parameter's resolution add up; without masters they would all be rounded away."""
    parameters = {"w": mx.ones((4, 4), dtype), "b": mx.ones(4)}
    state = adamw.init(parameters)
    assert set(state) == {"m.w", "v.w", "master.w", "m.b", "v.b"}
    assert all(value.dtype == mx.float32 for value in state.values())
    gradients = {name: mx.ones_like(value) for name, value in parameters.items()}
    for t in range(1, 101):
        parameters, state = adamw.update(parameters, gradients, state, lr=1e-4, step=t, weight_decay=0.0)
        mx.eval(parameters, state)
    assert parameters["w"].dtype == dtype
    assert parameters["b"].dtype == mx.float32
    np.testing.assert_allclose(np.array(state["master.w"]), 0.99, rtol=1e-5)
    assert mx.array_equal(parameters["w"], state["master.w"].astype(dtype)).item()


def test_the_same_inputs_give_the_same_bits_compiled_or_not() -> None:
    plain = train(on_device(draw(0)), draw, 5, rate, **OPTIONS)
    for compiled in (False, True, True):
        again = train(on_device(draw(0)), draw, 5, rate, compiled=compiled, **OPTIONS)
        assert bits(again[0]) == bits(plain[0])
        assert bits(again[1]) == bits(plain[1])


def test_one_compilation_serves_every_rate_and_step() -> None:
    mx.enable_compile()  # a worker prepared in this process for a short run on a CPU has switched it off
    traced = []

    def one(parameters, gradients, state, lr, step):
        traced.append(1)
        return adamw.update(parameters, gradients, state, lr=lr, step=step)

    compiled, parameters = mx.compile(one), on_device(draw(0))
    state = adamw.init(parameters)
    for t in range(1, 4):
        parameters, state = compiled(parameters, on_device(draw(t)), state, mx.array(rate(t)), mx.array(float(t)))
        mx.eval(parameters, state)
    assert len(traced) == 1


def test_nothing_is_written_in_place() -> None:
    """A snapshot is references to old arrays: an update must leave them as they are."""
    parameters = on_device(draw(0))
    state = adamw.init(parameters)
    mx.eval(parameters, state)
    before = bits(parameters), bits(state)
    mx.eval(adamw.update(parameters, on_device(draw(1)), state, lr=0.1, step=1))
    assert (bits(parameters), bits(state)) == before
