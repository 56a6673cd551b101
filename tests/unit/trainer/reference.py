"""The same training as a plain program: one process, one sample at a time, no padding; AdamW and clipping in float64.

Nothing of ours is imported: gradients are those of mlx on the unpadded sample, everything after them is numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn
from mlx.utils import tree_flatten

Sample: TypeAlias = tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]
Arrays: TypeAlias = dict[str, npt.NDArray[np.float64]]


def masked_loss(model: Any, ids: mx.array, mask: mx.array) -> mx.array:
    logits = model(ids[None, :-1])[0]
    return (nn.losses.cross_entropy(logits, ids[1:]) * mask[1:]).sum()


def summed(model: Any, samples: Iterable[Sample]) -> tuple[float, int, Arrays]:
    """(sum of losses, trained tokens, sum of gradients) over whole samples."""
    loss_sum, tokens = 0.0, 0
    gradients: Arrays = {}
    of_one = nn.value_and_grad(model, masked_loss)
    for ids, mask in samples:
        loss, tree = of_one(model, mx.array(ids), mx.array(mask.astype(np.float32)))
        loss_sum, tokens = loss_sum + float(loss.item()), tokens + int(mask[1:].sum())
        for name, value in tree_flatten(tree):
            gradients[name] = gradients.get(name, 0.0) + np.array(value, np.float64)
    return loss_sum, tokens, gradients


class Adam:
    """Decoupled weight decay on matrices that are no embeddings, bias correction, clipping of the mean gradient."""

    def __init__(self, model: Any, *, max_norm: float, decay: float, betas: tuple[float, float], eps: float) -> None:
        self.model, self.max_norm, self.decay, self.betas, self.eps = model, max_norm, decay, betas, eps
        self.weights: Arrays = {
            name: np.array(value, np.float64) for name, value in tree_flatten(model.trainable_parameters())
        }
        self.m = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.updates = 0

    def update(self, tokens: int, gradients: Arrays, rate: float) -> float:
        """Take one step; returns the norm of the mean gradient before clipping."""
        self.updates += 1
        norm = math.sqrt(sum(float((value**2).sum()) for value in gradients.values())) / tokens
        factor = min(1.0, self.max_norm / (norm + 1e-6)) / tokens
        (b1, b2), t = self.betas, self.updates
        for name, weight in self.weights.items():
            gradient = gradients[name] * factor
            self.m[name] = b1 * self.m[name] + (1 - b1) * gradient
            self.v[name] = b2 * self.v[name] + (1 - b2) * gradient**2
            decays = weight.ndim == 2 and "norm" not in name and "embed" not in name
            kept = weight * (1 - rate * self.decay) if decays else weight
            corrected = np.sqrt(self.v[name] / (1 - b2**t)) + self.eps
            self.weights[name] = kept - rate * (self.m[name] / (1 - b1**t)) / corrected
        self.model.load_weights([(name, mx.array(value, mx.float32)) for name, value in self.weights.items()])
        return norm
