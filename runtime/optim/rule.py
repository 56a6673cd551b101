"""What an optimizer is: the fp32 moments of one parameter, and how a gradient changes both. Pure.

A module of this folder that has `elementwise`, `moments` and `advance` is a `Rule`; `optimizer` gives it masters of
16-bit parameters, names its state, and applies it to all of them. Weights, gradients and moments are fp32 here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import mlx.core as mx

from runtime.optim.flat import Tree, is_embedding

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Numbers:
    """What one update is computed with, the same for all parameters.

    Inside mx.compile `lr` and `step` are fp32 scalars: numbers would be baked in, one compilation for each value.
    """

    lr: mx.array | float
    step: mx.array | int
    """1, 2, ...: only applied updates count."""
    betas: tuple[float, float]
    eps: float

    @cached_property
    def step_size(self) -> mx.array:
        """lr / (1 - beta1^step): Adam's rate with the first moment's bias correction."""
        return self.lr / self._bias_correction(self.betas[0])

    @cached_property
    def inverse_root2(self) -> mx.array:
        """1 / sqrt(1 - beta2^step): the bias correction of the root of the second moment."""
        return 1.0 / mx.sqrt(self._bias_correction(self.betas[1]))

    def _bias_correction(self, beta: float) -> mx.array:
        """1 - beta^step; by expm1, because in fp32 the plain form is off by 3e-5 at step 1 of beta = 0.999."""
        if beta == 0:
            return mx.array(1.0)
        return -mx.expm1(mx.array(self.step, mx.float32) * math.log(beta))


class Rule(Protocol):
    """One way to turn gradients into updates."""

    elementwise: bool
    """Whether each element depends on its own gradient, weight and moments alone: then any flat slice of a parameter
    can be updated by itself, to the same bits, and the state may be sharded."""

    def moments(self, name: str, shape: Shape) -> dict[str, Shape]:
        """The shape of each fp32 array that is remembered of this parameter; they begin as zeros."""
        ...

    def advance(
        self, name: str, weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], decay: float,
        numbers: Numbers,
    ) -> tuple[mx.array, Tree]:  # fmt: skip
        """(new weight, new moments), lazily; `decay` is 0 where weight decay does not apply."""
        ...


def decays(name: str, ndim: int) -> bool:
    """Whether weight decay applies: to matrices, not to norms and biases (vectors), nor to embeddings."""
    return ndim >= 2 and "norm" not in name and not is_embedding(name)


def decayed(shapes: Mapping[str, Shape], *, everywhere: bool = False) -> frozenset[str]:
    """The names that decay; `shapes` are those of whole parameters, whatever slice of them is updated."""
    return frozenset(name for name, shape in shapes.items() if everywhere or decays(name, len(shape)))
