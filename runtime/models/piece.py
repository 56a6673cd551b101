"""Consecutive layers of a model as a differentiable function: what one position of a pipeline computes.

The model object stays whole and lazy. A piece calls it, and its layers answer: those outside the piece hand on what
they were given, the first one inside starts from the activation that was received, the last one's output is kept. The
first piece embeds; the last one goes on through norm and head to the loss. So there is no code for any architecture
here, and parameters keep the names that they have in the whole model.

Backward without a second forward: the graph of the gradients is made together with that of the output, with a cotangent
that lies in memory but has no value yet. Evaluating the output computes what both need. When the real cotangent is
here, it is written into that memory, and only then are the gradients evaluated. So a pass can be evaluated in two
halves: the gradient of the input first, for the stage before waits for it, and those of the weights later.

Shape letters: B rows, T tokens of a row, S = T - 1 positions, D the tail of an activation's shape (its width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx.utils import tree_flatten, tree_unflatten

from runtime.models.anatomy import Anatomy, layers_of
from runtime.models.hooks import Hooks
from runtime.models.host_copies import CARRIERS, fill, of_bytes

Tree: TypeAlias = dict[str, mx.array]
Loss: TypeAlias = Callable[[mx.array, mx.array, mx.array], mx.array]
"""(logits [B, S, V], tokens [B, T], mask [B, T]) -> loss of each row [B], float32."""
Bytes: TypeAlias = npt.NDArray[np.uint8]


class Piece:
    """Layers `first` to `stop` - 1 of a model. Lives on the MLX thread."""

    def __init__(
        self,
        model: Any,
        anatomy: Anatomy,
        first: int,
        stop: int,
        loss: Loss,
        remembering: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Several pieces may share one model object; `loss` is used by the last one only. The model is called for a
        backward pass inside `remembering()`, which says what of its layers is kept until then."""
        self.owned = anatomy.owned(first, stop)
        """Every parameter that the piece computes with, trained or not."""
        self.is_first, self.is_last = first == 0, stop == anatomy.count
        self._model, self._anatomy, self._loss, self._remembering = model, anatomy, loss, remembering
        self._first, self._stop = first, stop
        self._received: mx.array | None = None
        self._kept: mx.array | None = None
        self._hooks = Hooks(layers_of(model), self._around)
        trained = dict(tree_flatten(model.trainable_parameters()))
        self.trained = tuple(name for name in trained if name in self.owned)
        """The parameters that it has gradients for, in the model's order."""

    def boundary_shape(self, tokens_BT: mx.array) -> tuple[int, ...]:
        """Shape of what goes in and out of the piece for such tokens: [B, S, *D]."""
        rows, positions = tokens_BT.shape
        return (rows, positions - 1, *self._anatomy.tail)

    def boundary_bytes(self, tokens_BT: mx.array) -> int:
        """Size of what goes in and out of the piece."""
        elements = math.prod(self.boundary_shape(tokens_BT))
        return elements * int(self._anatomy.dtype.size)

    def received(self, data: Bytes, tokens_BT: mx.array) -> mx.array:
        """An activation out of the bytes that came from the piece before (copied)."""
        return of_bytes(data, self._anatomy.dtype, self.boundary_shape(tokens_BT))

    def forward(
        self,
        parameters: Mapping[str, mx.array],
        tokens_BT: mx.array,
        mask_BT: mx.array,
        given: mx.array | None,
        weight: float = 1.0,
    ) -> Pass:
        """A micro-batch's way through the piece, lazily. `given` is the activation from the piece before.

        `parameters` holds at least `trained`; the model keeps none of them afterwards. The others are the model's own.
        Gradients are those of `weight` times the sum of the rows' losses.
        """
        values = [parameters[name] for name in self.trained]
        primals = values if given is None else [*values, given]
        cotangent = self._rows_cotangent(tokens_BT, weight) if self.is_last else Cotangent(self._shaped(tokens_BT))

        def output(*primals: mx.array) -> mx.array:
            received = None if given is None else primals[len(values)]
            with self._remembering():
                made = self._called(primals[: len(values)], tokens_BT, received)
            return self._loss(made, tokens_BT, mask_BT) if self.is_last else made

        before = dict(tree_flatten(self._model.trainable_parameters()))
        try:
            if primals:
                (made,), gradients = mx.vjp(output, primals, [cotangent.value])
            else:  # an end of a model with nothing to train before it: there is nothing to go back for
                made, gradients = output(), []
        finally:
            self._received = self._kept = None
            self._put([before[name] for name in self.trained])
        into_input = None if given is None else gradients[-1]
        return Pass(made, dict(zip(self.trained, gradients, strict=False)), into_input, cotangent)

    def through(self, parameters: Mapping[str, mx.array], tokens_BT: mx.array, given: mx.array | None) -> mx.array:
        """The same way with no way back, lazily and in evaluation mode: the activation for the next piece; in the last
        one the logits [B, S, V]."""
        before = dict(tree_flatten(self._model.trainable_parameters()))
        self._model.eval()
        try:
            return self._called([parameters[name] for name in self.trained], tokens_BT, given)
        finally:
            self._model.train()
            self._received = self._kept = None
            self._put([before[name] for name in self.trained])

    def _called(self, values: Any, tokens_BT: mx.array, received: mx.array | None) -> mx.array:
        """What the piece makes of what it received."""
        self._put(values)
        self._received = received
        with self._hooks.installed():
            logits_BSV: mx.array = self._model(tokens_BT[:, :-1])
        if self.is_last:
            return logits_BSV
        assert self._kept is not None
        return self._kept

    def _put(self, values: Any) -> None:
        self._model.update(tree_unflatten(list(zip(self.trained, values, strict=True))))

    def _shaped(self, tokens_BT: mx.array) -> tuple[tuple[int, ...], mx.Dtype]:
        return self.boundary_shape(tokens_BT), self._anatomy.dtype

    def _rows_cotangent(self, tokens_BT: mx.array, weight: float) -> Cotangent:
        """Every row's loss counts alike."""
        made = Cotangent(((tokens_BT.shape[0],), mx.float32))
        made.fill(np.full(tokens_BT.shape[0], weight, np.float32).view(np.uint8))
        return made

    def _around(
        self, index: int, compute: Callable[..., Any], given: Any, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        if not self._first <= index < self._stop:
            return given
        if index == self._first and self._received is not None:
            given = self._received
        made = compute(given, *args, **keywords)
        if index == self._stop - 1:
            self._kept = made
        return made


class Cotangent:
    """The gradient of a piece's output: an array whose memory is there before its value.

    MLX takes it for a constant. It may be filled until the first evaluation of something that reads it.
    """

    def __init__(self, shaped: tuple[tuple[int, ...], mx.Dtype]) -> None:
        shape, dtype = shaped
        self._memory = mx.zeros((math.prod(shape),), CARRIERS[dtype.size])
        mx.eval(self._memory)
        self.value: mx.array = self._memory.view(dtype).reshape(shape)

    def fill(self, data: Bytes) -> None:
        """Write the received bytes into the array."""
        fill(self._memory, data)


class Pass:
    """One micro-batch in one piece between its forward and the end of its backward pass."""

    def __init__(self, output: mx.array, weights: Tree, into_input: mx.array | None, cotangent: Cotangent) -> None:
        self.output = output
        """Lazily: the activation [B, S, *D] for the next piece; in the last piece the rows' losses [B]."""
        self._weights, self._into_input, self._cotangent = weights, into_input, cotangent

    def give(self, cotangent: Bytes) -> None:
        """The gradient of `output` is here; to be called once, after `output` was evaluated (not in the last piece)."""
        self._cotangent.fill(cotangent)

    @property
    def into_input(self) -> mx.array | None:
        """Lazily: the gradient of what the piece was given; None in the first piece."""
        return self._into_input

    @property
    def weights(self) -> Tree:
        """Lazily: the gradients of the trained parameters, by name."""
        return self._weights
