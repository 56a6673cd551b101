"""Stochastic gradient descent with momentum b1, as torch.optim.SGD computes it without dampening: weight decay is L2.

m = b1 m + (g + wd p)        p = p - lr m
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
    if decay:
        gradient = gradient + decay * weight
    m = numbers.betas[0] * moments["m"] + gradient
    return weight - numbers.lr * m, {"m": m}
