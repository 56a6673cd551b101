"""Loss and gradients of one micro-batch: compiled functions of (parameters, tokens, mask), sums and never means.

Shape letters: B rows, T tokens of a row, S = T - 1 predicted positions, V vocabulary. A row's loss is the sum over its
trained targets; the division by the step's token count happens once, in the optimizer, when all devices have counted.

Gradients are float32 sums, whatever they were computed in; one that nothing is added to may stay in its 16 bits, which
lose nothing until they meet another. float16's are computed of a scaled loss and divided again at once: what overflowed
is not finite, and everything else is as if nothing had been scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from runtime.flow import Packing
from runtime.models.packed import forward
from runtime.trainer.cross_entropy import token_losses
from runtime.trainer.dropout import place_dropout
from runtime.trainer.recompute import Recompute

Tree: TypeAlias = dict[str, mx.array]
"""Arrays by dotted parameter name."""


def row_losses(logits_BSV: mx.array, tokens_BT: mx.array, mask_BT: mx.array) -> mx.array:
    """Cross-entropy in nats of each row, summed over its trained targets, shape [B], float32.

    Position t predicts token t+1; `mask_BT[b, t]` is 1 where token t of row b is a target that counts.
    """
    return (token_losses(logits_BSV, tokens_BT[:, 1:]) * mask_BT[:, 1:]).sum(axis=-1)


def judged(logits_BSV: mx.array, tokens_BT: mx.array, mask_BT: mx.array) -> tuple[mx.array, mx.array]:
    """(row losses [B], correct first choices [B]), lazily."""
    right_BS = (mx.argmax(logits_BSV, axis=-1) == tokens_BT[:, 1:]) * mask_BT[:, 1:]
    return row_losses(logits_BSV, tokens_BT, mask_BT), right_BS.sum(axis=-1)


def trainable(model: Any) -> Tree:
    """The parameters that training changes, by dotted name."""
    return dict(tree_flatten(model.trainable_parameters()))


class GradientFunctions:
    """Compiled once per shape of micro-batch; `shapes` counts how many there were, `traced` how often it happened."""

    def __init__(self, model: Any, *, compiled: bool, compute: mx.Dtype | None = None, recompute: str = "none") -> None:
        """`model` is only traced: the parameters are arguments, and what it holds afterwards is of no meaning.

        `compute` is the dtype of both passes where it is not that of the parameters: they are cast when they are used.
        `recompute` is train.grad_checkpoint.
        """
        self._model, self._compute, self._is_compiled = model, compute, compiled
        self._remembering = nullcontext if recompute == "none" else Recompute(model, recompute).installed
        self.rows = place_dropout(model)
        self.drops = self.rows is not None
        """Whether `add` needs the numbers of the rows."""
        self.filled = False
        """Whether the model was given parameters since this was last set to False: only where it was traced."""
        self.shapes: set[tuple[int, ...]] = set()
        self.traced = 0
        """How often gradients were compiled; 0 where nothing is."""
        self._loss_and_gradients: Callable[..., Any] = mx.value_and_grad(self._loss)
        wrap = mx.compile if compiled else _as_it_is
        self._only, self._first, self._more = wrap(self._alone), wrap(self._begun), wrap(self._added)
        self._judge = wrap(self._judged)

    def _fill(self, parameters: Tree) -> None:
        self._model.update(tree_unflatten(list(parameters.items())))
        self.filled = True

    def _loss(
        self, parameters: Tree, tokens_BT: mx.array, mask_BT: mx.array, factor: mx.array | None, marks: Tree
    ) -> tuple[mx.array, mx.array]:
        self._fill(parameters)
        if self.rows is not None:
            self.rows.numbers_B, self.rows.positions_BT = marks.get("numbers"), marks.get("positions")
        with self._remembering():
            if "segments" in marks:
                logits_BSV = forward(self._model, tokens_BT[:, :-1], marks["segments"])
                losses = token_losses(logits_BSV, tokens_BT[:, 1:]) * mask_BT[:, 1:]
            else:
                losses = row_losses(self._model(tokens_BT[:, :-1]), tokens_BT, mask_BT)
        return losses.sum() if factor is None else losses.sum() * factor, losses

    def _alone(
        self, parameters: Tree, tokens_BT: mx.array, mask_BT: mx.array, scale: mx.array | None, marks: Tree
    ) -> tuple[mx.array, Tree]:
        self.traced += self._is_compiled  # the body of a compiled function runs when it is compiled, and then no more
        factor = None if scale is None else scale / power_of_two(tokens_BT.size)
        computed = cast(parameters, self._compute)
        (_, losses), found = self._loss_and_gradients(computed, tokens_BT, mask_BT, factor, marks)
        if factor is not None:
            found = {name: value / factor for name, value in cast(found, mx.float32).items()}
        return losses, found

    def _begun(self, parameters: Tree, *batch: Any) -> tuple[mx.array, Tree]:
        losses, gradients = self._alone(parameters, *batch)
        return losses, cast(gradients, mx.float32)

    def _added(self, parameters: Tree, so_far: Tree, *batch: Any) -> tuple[mx.array, Tree]:
        losses, gradients = self._begun(parameters, *batch)
        return losses, {name: so_far[name] + value for name, value in gradients.items()}

    def _judged(self, parameters: Tree, tokens_BT: mx.array, mask_BT: mx.array) -> tuple[mx.array, mx.array]:
        self._fill(cast(parameters, self._compute))
        self._model.eval()  # without dropout
        try:
            logits_BSV = self._model(tokens_BT[:, :-1])
        finally:
            self._model.train()
        return judged(logits_BSV, tokens_BT, mask_BT)

    def add(
        self,
        parameters: Tree,
        so_far: Tree | None,
        tokens: Any,
        mask: Any,
        scale: mx.array | None = None,
        numbers: Any = None,
        packing: Packing | None = None,
        *,
        whole: bool = False,
    ) -> tuple[mx.array, Tree]:
        """(row losses [B], `so_far` plus the gradients of this micro-batch in float32), lazily. If they are the `whole`
        (nothing is there so far, nor expected), in the dtype that they were computed in.

        `scale` is float16's loss scale: of the mean over the positions of the micro-batch (in number, the next power of
        two), as where a loss is a mean, so that one scale suits micro-batches of every size. `numbers` [B] tell the
        rows apart (`dropout.row_numbers`), and are only looked at if the model has dropout. With `packing` the samples
        of a row do not see each other, numbers are [B, T], and the losses are those of the targets, [B, S].
        """
        tokens_BT, mask_BT = mx.array(tokens), mx.array(mask)
        marks = {} if packing is None else {"segments": mx.array(packing.segments_BT[:, :-1])}
        if self.drops and packing is None:
            marks["numbers"] = mx.array(numbers)
        elif self.drops and packing is not None:
            marks |= {"numbers": mx.array(numbers[:, :-1]), "positions": mx.array(packing.positions_BT[:, :-1])}
        self.shapes.add(tuple(tokens_BT.shape))
        if so_far is None:
            begin = self._only if whole else self._first
            result: tuple[mx.array, Tree] = begin(parameters, tokens_BT, mask_BT, scale, marks)
        else:
            result = self._more(parameters, so_far, tokens_BT, mask_BT, scale, marks)
        return result

    def judge(self, parameters: Tree, tokens: Any, mask: Any) -> tuple[mx.array, mx.array]:
        """(row losses [B], correct first choices [B]) without gradients, lazily."""
        result: tuple[mx.array, mx.array] = self._judge(parameters, mx.array(tokens), mx.array(mask))
        return result


def cast(arrays: Tree, dtype: mx.Dtype | None) -> Tree:
    """The arrays in another dtype, lazily; as they are without one."""
    return arrays if dtype is None else {name: value.astype(dtype) for name, value in arrays.items()}


def power_of_two(count: int) -> int:
    """The smallest one that is not less than `count`."""
    return 1 << max(0, count - 1).bit_length()


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
