"""Adam (Kingma and Ba, 2015) with bias correction, as torch.optim.Adam computes it: weight decay is part of g (L2).

g = g + wd p
m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx

from runtime.optim.flat import Tree
from runtime.optim.rule import Numbers, Shape

elementwise = True


def moments(name: str, shape: Shape) -> dict[str, Shape]:
    """The two moving averages of the gradient and of its square."""
    return {"m": shape, "v": shape}


def advance(
    name: str, weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], decay: float, numbers: Numbers
) -> tuple[mx.array, Tree]:
    """See Rule."""
    if decay:
        gradient = gradient + decay * weight
    return adapted(weight, gradient, moments, numbers)


def adapted(
    weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], numbers: Numbers
) -> tuple[mx.array, Tree]:
    """Adam's step without any decay: (new weight, new moments), lazily."""
    beta1, beta2 = numbers.betas
    m = beta1 * moments["m"] + (1 - beta1) * gradient
    v = beta2 * moments["v"] + (1 - beta2) * mx.square(gradient)
    weight = weight - numbers.step_size * (m / (mx.sqrt(v) * numbers.inverse_root2 + numbers.eps))
    return weight, {"m": m, "v": v}
