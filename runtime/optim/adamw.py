"""AdamW (Loshchilov and Hutter, 2019) with bias correction, as torch.optim.AdamW computes it.

    m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
    p = p - lr wd p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

Moments are fp32. A 16-bit parameter has an fp32 master in the state; the update happens there and is rounded once.
State names: `m.<parameter>`, `v.<parameter>`, `master.<parameter>`: flat, so that a checkpoint is just its arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import mlx.core as mx

from runtime.optim.flat import Tree, is_embedding

_HALF = (mx.float16, mx.bfloat16)


def init(parameters: Mapping[str, mx.array]) -> Tree:
    """The state before the first update, lazily."""
    state: Tree = {}
    for name, parameter in parameters.items():
        state[f"m.{name}"] = mx.zeros(parameter.shape, mx.float32)
        state[f"v.{name}"] = mx.zeros(parameter.shape, mx.float32)
        if parameter.dtype in _HALF:
            state[f"master.{name}"] = parameter.astype(mx.float32)
    return state


def update(
    parameters: Mapping[str, mx.array],
    gradients: Mapping[str, mx.array],
    state: Mapping[str, mx.array],
    *,
    lr: mx.array | float,
    step: mx.array | int,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    decay_all: bool = False,
) -> tuple[Tree, Tree]:
    """New parameters and state after update number `step` (1, 2, ...; only applied updates count), lazily.

    Inside mx.compile pass `lr` and `step` as fp32 scalars: numbers would be baked in, one compilation for each value.
    `gradients` are final: divided and clipped.
    """
    correction1, correction2 = (_bias_correction(beta, step) for beta in betas)
    step_size, inverse_root2 = lr / correction1, 1.0 / mx.sqrt(correction2)
    new_parameters, new_state = {}, {}
    for name, parameter in parameters.items():
        gradient = gradients[name].astype(mx.float32)
        m = betas[0] * state[f"m.{name}"] + (1 - betas[0]) * gradient
        v = betas[1] * state[f"v.{name}"] + (1 - betas[1]) * mx.square(gradient)
        weight = state.get(f"master.{name}", parameter)
        if weight_decay and (decay_all or decays(name, parameter.ndim)):
            weight = weight * (1 - lr * weight_decay)
        weight = weight - step_size * (m / (mx.sqrt(v) * inverse_root2 + eps))
        new_state[f"m.{name}"], new_state[f"v.{name}"] = m, v
        if f"master.{name}" in state:
            new_state[f"master.{name}"] = weight
        new_parameters[name] = weight.astype(parameter.dtype)
    return new_parameters, new_state


def decays(name: str, ndim: int) -> bool:
    """Whether weight decay applies: to matrices, not to norms and biases (vectors), nor to embeddings."""
    return ndim >= 2 and "norm" not in name and not is_embedding(name)


def _bias_correction(beta: float, step: mx.array | int) -> mx.array:
    """1 - beta^step. By expm1, because in fp32 the plain form is off by 3e-5 at step 1 of beta = 0.999."""
    return -mx.expm1(mx.array(step, mx.float32) * math.log(beta))
