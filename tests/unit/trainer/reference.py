"""The same training as a plain program: one process, one sample at a time, no padding; updates and clipping in float64.

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

from tests.unit.optim import plain

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


class Plain:
    """An optimizer of `plain` on a model: decay on matrices that are no embeddings, clipping of the mean gradient."""

    def __init__(self, model: Any, *, max_norm: float, decay: float, optimizer: str = "adamw") -> None:
        self.model, self.max_norm, self.decay, self.optimizer = model, max_norm, decay, optimizer
        self.weights: Arrays = {
            name: np.array(value, np.float64) for name, value in tree_flatten(model.trainable_parameters())
        }
        self.states: dict[str, plain.State] = {name: {} for name in self.weights}
        self.updates = 0

    def update(self, tokens: int, gradients: Arrays, rate: float) -> float:
        """Take one step; returns the norm of the mean gradient before clipping."""
        self.updates += 1
        norm = math.sqrt(sum(float((value**2).sum()) for value in gradients.values())) / tokens
        factor = min(1.0, self.max_norm / (norm + 1e-6)) / tokens
        for name, weight in self.weights.items():
            step = plain.step_of(self.optimizer, name, weight.ndim)
            decays = weight.ndim == 2 and "norm" not in name and "embed" not in name
            decay = self.decay if decays else 0.0
            gradient = gradients[name] * factor
            self.weights[name] = step(weight, gradient, self.states[name], rate, self.updates, decay)
        self.model.load_weights([(name, mx.array(value, mx.float32)) for name, value in self.weights.items()])
        return norm
