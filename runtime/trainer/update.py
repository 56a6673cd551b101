"""From a summed gradient to new parameters: divide by the tokens, clip, optimize, in one compiled function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from runtime.cluster.messages import Verdict
from runtime.config.train import OptimSettings
from runtime.optim.clip import gradient_scale, square_sum
from runtime.optim.flat import FlatLayout
from runtime.optim.optimizer import Optimizer
from runtime.trainer.gradients import Tree


@dataclass(frozen=True)
class Numbers:
    """What an update is computed with beside arrays, all but the norm of its gradient."""

    tokens: int
    """That the gradient is a sum over."""
    limit: float
    """Of the norm of the mean gradient per token; infinite: it is not clipped."""
    rate: float
    update: int
    """1, 2, ...: only applied updates count."""


class Update:
    """The optimizer as the replica sees it. The gradient may be a tree, or the flat vector that travelled."""

    def __init__(self, parameters: Tree, optim: OptimSettings, max_grad_norm: float, *, compiled: bool) -> None:
        """`parameters` give names and shapes only."""
        self.layout = FlatLayout.of(parameters)
        self.optimizer, self.max_grad_norm = Optimizer(optim), max_grad_norm
        wrap: Callable[..., Any] = mx.compile if compiled else _as_it_is
        self._square_sum = wrap(self._square_sum_of)
        self._apply = wrap(self._apply_to)
        self._apply_pieces = wrap(self._apply_to_pieces)

    def initial(self, parameters: Tree) -> Tree:
        """Optimizer state before the first update."""
        return self.optimizer.init(parameters)

    def square_sum(self, gradient: Tree | mx.array) -> mx.array:
        """Sum of squares over all elements, leaf by leaf in a fixed order, float32 scalar; lazily."""
        total: mx.array = self._square_sum(gradient)
        return total

    def numbers(self, tokens: int, rate: float, update: int, clip_norm: float = 0.0) -> Numbers:
        """With train.max_grad_norm, and a limit of this step alone beside it (0: none)."""
        limit = min(limit if limit > 0 else math.inf for limit in (self.max_grad_norm, clip_norm))
        return Numbers(tokens, limit, rate, update)

    def of_verdict(self, verdict: Verdict) -> tuple[Numbers, float]:
        """What a verdict says: (numbers, sum of squares of the gradient)."""
        committed = verdict.committed
        numbers = self.numbers(committed.tokens, verdict.learning_rate, verdict.update, committed.clip_norm)
        return numbers, square_sum_of(committed.grad_norm, committed.tokens)

    def __call__(
        self, parameters: Tree, state: Tree, gradient: Tree | mx.array, square: mx.array, numbers: Numbers
    ) -> tuple[Tree, Tree]:
        """New parameters and optimizer state, lazily. `square` is the gradient's sum of squares."""
        result: tuple[Tree, Tree] = self._apply(parameters, state, gradient, square, *_arrays(numbers))
        return result

    def of_pieces(
        self, pieces: Tree, state: Tree, gradients: Tree, square: mx.array, numbers: Numbers
    ) -> tuple[Tree, Tree]:
        """The same for pieces of parameters and their gradients, by the pieces' names; `square` is that of all."""
        result: tuple[Tree, Tree] = self._apply_pieces(pieces, state, gradients, square, *_arrays(numbers))
        return result

    def tree(self, gradient: Tree | mx.array) -> Tree:
        """The gradient by name, lazily."""
        return self.layout.unflatten(gradient) if isinstance(gradient, mx.array) else gradient

    def _square_sum_of(self, gradient: Tree | mx.array) -> mx.array:
        return square_sum(self.tree(gradient))

    def _apply_to(
        self, parameters: Tree, state: Tree, gradient: Tree | mx.array, square: mx.array, *numbers: mx.array
    ) -> tuple[Tree, Tree]:
        return self._apply_to_pieces(parameters, state, self.tree(gradient), square, *numbers)

    def _apply_to_pieces(
        self,
        parameters: Tree,
        state: Tree,
        gradients: Tree,
        square: mx.array,
        tokens: mx.array,
        limit: mx.array,
        rate: mx.array,
        update: mx.array,
    ) -> tuple[Tree, Tree]:
        scale = gradient_scale(square, tokens, limit)
        gradients = {name: value.astype(mx.float32) * scale for name, value in gradients.items()}
        return self.optimizer.update(parameters, gradients, state, lr=rate, step=update)


def square_sum_of(norm: float, tokens: int) -> float:
    """The float32 sum of squares that a norm per token was computed from, to the bit: what double precision loses on
    the way there and back is far below float32's last place."""
    return float(np.float32((norm * tokens) ** 2))


def _arrays(numbers: Numbers) -> tuple[mx.array, ...]:
    """Scalars that a compiled function takes as inputs: as Python's they would be compiled in."""
    values = numbers.tokens, numbers.limit, numbers.rate, numbers.update
    return tuple(mx.array(value, mx.float32) for value in values)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
