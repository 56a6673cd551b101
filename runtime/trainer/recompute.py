"""Activation checkpointing: what a layer computed is forgotten, and computed again for the backward pass.

    none    everything is kept
    layer   the input of every layer is kept, and while one layer is differentiated, what is inside it
    full    the inputs of segments of about sqrt(layers) layers, and within the segment that is being differentiated the
            inputs of its layers: about 2 sqrt(layers) inputs instead of all, for one more forward pass

A layer that is computed twice gives the same bits twice: its dropout follows from the rows (`dropout`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map

from runtime.errors import ModelError
from runtime.models.anatomy import layers_of
from runtime.models.hooks import Hooks


@dataclass(frozen=True)
class _Call:
    """One layer's call, without its first argument."""

    layer: Any
    compute: Callable[..., Any]
    given: tuple[tuple[Any, ...], dict[str, Any]]


class Recompute:
    """While `installed`, the layers of a model run inside `mx.checkpoint`. For one thread, one call at a time."""

    def __init__(self, model: Any, how: str) -> None:
        """`how` is `layer` or `full`. Raises ModelError for a model without a list of layers."""
        self._layers = layers_of(model)
        self._segment = 1 if how == "layer" else math.ceil(math.sqrt(len(self._layers)))
        self._hooks = Hooks(self._layers, self._around)
        self._waiting: list[_Call] = []
        self._input: Any = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The model computes as usual in here, and what is differentiated in here or later is recomputed."""
        self._waiting = []
        try:
            with self._hooks.installed():
                yield
        finally:
            self._waiting, self._input = [], None

    def _around(
        self, index: int, compute: Callable[..., Any], x: Any, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        """A segment runs when its last layer is called; until then each of its layers hands on what it was given."""
        if self._waiting and x is not self._input:
            raise ModelError(
                "train.grad_checkpoint: between its layers this architecture does more than to hand on what they give, "
                'so they cannot be recomputed in segments; use "layer"'
            )
        self._waiting.append(_Call(self._layers[index], compute, (args, keywords)))
        self._input = x
        if (index + 1) % self._segment and index + 1 < len(self._layers):
            return x
        calls, self._waiting, self._input = self._waiting, [], None
        return _checkpointed(calls, x)


def _checkpointed(calls: Sequence[_Call], x: Any) -> Any:
    """The layers one after the other, their inputs alone remembered; several are also remembered one by one."""
    parameters = [call.layer.trainable_parameters() for call in calls]
    arrays: list[mx.array] = []
    tree_map(lambda leaf: arrays.append(leaf) if isinstance(leaf, mx.array) else None, [call.given for call in calls])

    def run(parameters: list[Any], x: Any, arrays: list[mx.array]) -> Any:
        rest = iter(arrays)
        for call, own in zip(calls, parameters, strict=True):
            call.layer.update(own)
            args, keywords = tree_map(lambda leaf: next(rest) if isinstance(leaf, mx.array) else leaf, call.given)
            if len(calls) > 1:
                x = _checkpointed([replace(call, given=(args, keywords))], x)
            else:
                x = call.compute(x, *args, **keywords)
        return x

    made = mx.checkpoint(run)(parameters, x, arrays)
    for call, own in zip(calls, parameters, strict=True):
        call.layer.update(own)  # not the ones that were traced inside
    return made
