"""From a summed gradient to new parameters: divide by the tokens, clip, optimize, in one compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from runtime.config.train import OptimSettings
from runtime.flow import CommittedStep
from runtime.optim.clip import clip_scale, square_sum
from runtime.optim.flat import FlatLayout
from runtime.optim.optimizer import Optimizer
from runtime.trainer.gradients import Tree


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
        self.flatten = wrap(self.layout.flatten)

    def initial(self, parameters: Tree) -> Tree:
        """Optimizer state before the first update."""
        return self.optimizer.init(parameters)

    def square_sum(self, gradient: Tree | mx.array) -> mx.array:
        """Sum of squares over all elements, leaf by leaf in a fixed order, float32 scalar; lazily."""
        total: mx.array = self._square_sum(gradient)
        return total

    def __call__(
        self,
        parameters: Tree,
        state: Tree,
        gradient: Tree | mx.array,
        committed: CommittedStep,
        rate: float,
        update: int,
    ) -> tuple[Tree, Tree]:
        """New parameters and optimizer state, lazily.

        `committed.grad_norm` is the norm of the mean gradient per token.
        """
        result: tuple[Tree, Tree] = self._apply(parameters, state, gradient, *self._numbers(committed, rate, update))
        return result

    def of_pieces(
        self, pieces: Tree, state: Tree, gradients: Tree, committed: CommittedStep, rate: float, update: int
    ) -> tuple[Tree, Tree]:
        """The same for pieces of parameters and their gradients, by the pieces' names."""
        numbers = self._numbers(committed, rate, update)
        result: tuple[Tree, Tree] = self._apply_pieces(pieces, state, gradients, *numbers)
        return result

    def _numbers(self, committed: CommittedStep, rate: float, update: int) -> tuple[mx.array, mx.array, mx.array]:
        limits = (self.max_grad_norm, committed.clip_norm)
        scale = min(clip_scale(committed.grad_norm, limit) for limit in limits) / committed.tokens
        return mx.array(scale, mx.float32), mx.array(rate, mx.float32), mx.array(update, mx.float32)

    def _tree(self, gradient: Tree | mx.array) -> Tree:
        return self.layout.unflatten(gradient) if isinstance(gradient, mx.array) else gradient

    def _square_sum_of(self, gradient: Tree | mx.array) -> mx.array:
        return square_sum(self._tree(gradient))

    def _apply_to(
        self,
        parameters: Tree,
        state: Tree,
        gradient: Tree | mx.array,
        scale: mx.array,
        rate: mx.array,
        update: mx.array,
    ) -> tuple[Tree, Tree]:
        return self._apply_to_pieces(parameters, state, self._tree(gradient), scale, rate, update)

    def _apply_to_pieces(
        self, parameters: Tree, state: Tree, gradients: Tree, scale: mx.array, rate: mx.array, update: mx.array
    ) -> tuple[Tree, Tree]:
        gradients = {name: value * scale for name, value in gradients.items()}
        return self.optimizer.update(parameters, gradients, state, lr=rate, step=update)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
