"""Muon (Jordan et al., 2024): the matrices of the layers move along an orthogonalised Nesterov momentum.

    m = b1 m + (1 - b1) g        u = b1 m + (1 - b1) g        O = NewtonSchulz5(u), about U V^T of its SVD
    p = p - lr wd p - lr 0.2 sqrt(max(rows, columns)) O

Everything else (embeddings, the head, vectors, convolutions) is AdamW's. The factor gives a matrix's update the size
that AdamW's usually has (RMS 0.2; Liu et al., 2025, arXiv:2502.16982), so one `lr` and one `weight_decay` serve both;
mlx.optimizers.Muon has sqrt(max(1, rows / columns)) there, and puts the decay into g. Not element-wise: a matrix is
updated whole. Stacked matrices (the experts of a mixture, [experts, rows, columns]) are orthogonalised one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx

from runtime.optim import adamw
from runtime.optim.flat import Tree, is_embedding, layer_of
from runtime.optim.rule import Numbers, Shape

elementwise = False

RMS = 0.2
"""Root mean square of a matrix's update at lr 1."""
_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that brings singular values close to 1 in few iterations (Jordan et al.)."""
_GUARD = 1e-7


def is_orthogonalised(name: str, shape: Shape) -> bool:
    """Whether a parameter is Muon's: a matrix of a layer, or a stack of them, and no norm, embedding or convolution."""
    foreign = "norm" in name or "conv" in name or is_embedding(name)
    return len(shape) >= 2 and min(shape[-2:]) > 1 and layer_of(name) is not None and not foreign


def moments(name: str, shape: Shape) -> dict[str, Shape]:
    """The momentum of a matrix; AdamW's moments of everything else."""
    return {"m": shape} if is_orthogonalised(name, shape) else adamw.moments(name, shape)


def advance(
    name: str, weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], decay: float, numbers: Numbers
) -> tuple[mx.array, Tree]:
    """See Rule."""
    if not is_orthogonalised(name, weight.shape):
        return adamw.advance(name, weight, gradient, moments, decay, numbers)
    beta = numbers.betas[0]
    m = beta * moments["m"] + (1 - beta) * gradient
    direction = orthogonalised(beta * m + (1 - beta) * gradient)
    if decay:
        weight = weight * (1 - numbers.lr * decay)
    size = RMS * max(weight.shape[-2:]) ** 0.5
    return weight - (numbers.lr * size) * direction, {"m": m}


def orthogonalised(matrix: mx.array) -> mx.array:
    """The last two axes with all singular values near 1 (0.7 to 1.2), lazily; zeros stay zeros. fp32."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.swapaxes(-1, -2) if is_tall else matrix
    norm = mx.sqrt(mx.square(x).sum(axis=-1, keepdims=True).sum(axis=-2, keepdims=True))
    x = x / (norm + _GUARD)
    for _ in range(_ITERATIONS):
        gram = x @ x.swapaxes(-1, -2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.swapaxes(-1, -2) if is_tall else x
