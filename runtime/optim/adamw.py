"""AdamW (Loshchilov and Hutter, 2019) with bias correction, as torch.optim.AdamW computes it.

m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
p = p - lr wd p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx

from runtime.optim.adam import adapted
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
        weight = weight * (1 - numbers.lr * decay)
    return adapted(weight, gradient, moments, numbers)
