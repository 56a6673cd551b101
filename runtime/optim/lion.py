"""Lion (Chen et al., 2023, arXiv:2302.06675): the sign of an interpolated momentum, and decoupled weight decay.

    p = p - lr wd p - lr sign(b1 m + (1 - b1) g)
    m = b2 m + (1 - b2) g

Every element moves by lr, so rates are three to ten times smaller than AdamW's, and weight decays as much larger.
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx

from runtime.optim.flat import Tree
from runtime.optim.rule import Numbers, Shape

elementwise = True


def moments(name: str, shape: Shape) -> dict[str, Shape]:
    """The momentum."""
    return {"m": shape}


def advance(
    name: str, weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], decay: float, numbers: Numbers
) -> tuple[mx.array, Tree]:
    """See Rule."""
    (beta1, beta2), before = numbers.betas, moments["m"]
    if decay:
        weight = weight * (1 - numbers.lr * decay)
    weight = weight - numbers.lr * mx.sign(beta1 * before + (1 - beta1) * gradient)
    return weight, {"m": beta2 * before + (1 - beta2) * gradient}
