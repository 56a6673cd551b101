"""Loss and gradients of one micro-batch: compiled functions of (parameters, tokens, mask), sums and never means.

Shape letters: B rows, T tokens of a row, S = T - 1 predicted positions, V vocabulary. A row's loss is the sum over its
trained targets; the division by the step's token count happens once, in the optimizer, when all devices have counted.

Gradients are float32 sums, whatever they were computed in. float16's are computed of a scaled loss and divided again at
once: what overflowed is not finite, and everything else is as if nothing had been scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeAlias

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

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
        remembering = nullcontext if recompute == "none" else Recompute(model, recompute).installed
        rows = place_dropout(model)
        self.drops = rows is not None
        """Whether `add` needs the numbers of the rows."""

        def loss(
            parameters: Tree,
            tokens_BT: mx.array,
            mask_BT: mx.array,
            factor: mx.array | None,
            numbers_B: mx.array | None,
        ) -> tuple[mx.array, mx.array]:
            model.update(tree_unflatten(list(parameters.items())))
            if rows is not None:
                rows.numbers_B = numbers_B
            with remembering():
                logits_BSV = model(tokens_BT[:, :-1])
            losses_B = row_losses(logits_BSV, tokens_BT, mask_BT)
            return losses_B.sum() if factor is None else losses_B.sum() * factor, losses_B

        both: Callable[..., Any] = mx.value_and_grad(loss)

        def first(
            parameters: Tree,
            tokens_BT: mx.array,
            mask_BT: mx.array,
            scale: mx.array | None,
            numbers_B: mx.array | None,
        ) -> tuple[mx.array, Tree]:
            self.traced += compiled  # the body of a compiled function runs when it is compiled, and then no more
            factor = None if scale is None else scale / _power_of_two(tokens_BT.size)
            (_, losses_B), found = both(_cast(parameters, compute), tokens_BT, mask_BT, factor, numbers_B)
            gradients = _cast(found, mx.float32)
            if factor is not None:
                gradients = {name: value / factor for name, value in gradients.items()}
            return losses_B, gradients

        def more(parameters: Tree, so_far: Tree, *batch: mx.array | None) -> tuple[mx.array, Tree]:
            losses_B, gradients = first(parameters, *batch)
            return losses_B, {name: so_far[name] + value for name, value in gradients.items()}

        def judge(parameters: Tree, tokens_BT: mx.array, mask_BT: mx.array) -> tuple[mx.array, mx.array]:
            model.update(tree_unflatten(list(_cast(parameters, compute).items())))
            model.eval()  # without dropout
            try:
                logits_BSV = model(tokens_BT[:, :-1])
            finally:
                model.train()
            right_BS = (mx.argmax(logits_BSV, axis=-1) == tokens_BT[:, 1:]) * mask_BT[:, 1:]
            return row_losses(logits_BSV, tokens_BT, mask_BT), right_BS.sum(axis=-1)

        wrap = mx.compile if compiled else _as_it_is
        self._first, self._more, self._judge = wrap(first), wrap(more), wrap(judge)
        self.shapes: set[tuple[int, ...]] = set()
        self.traced = 0
        """How often gradients were compiled; 0 where nothing is."""

    def add(
        self,
        parameters: Tree,
        so_far: Tree | None,
        tokens: Any,
        mask: Any,
        scale: mx.array | None = None,
        numbers: Any = None,
    ) -> tuple[mx.array, Tree]:
        """(row losses [B], `so_far` plus the gradients of this micro-batch in float32), lazily.

        `scale` is float16's loss scale: of the mean over the positions of the micro-batch (in number, the next power of
        two), as where a loss is a mean, so that one scale suits micro-batches of every size. `numbers` [B] tell the
        rows apart (`dropout.row_numbers`), and are only looked at if the model has dropout.
        """
        tokens_BT, mask_BT = mx.array(tokens), mx.array(mask)
        numbers_B = mx.array(numbers) if self.drops else None
        self.shapes.add(tuple(tokens_BT.shape))
        if so_far is None:
            result: tuple[mx.array, Tree] = self._first(parameters, tokens_BT, mask_BT, scale, numbers_B)
        else:
            result = self._more(parameters, so_far, tokens_BT, mask_BT, scale, numbers_B)
        return result

    def judge(self, parameters: Tree, tokens: Any, mask: Any) -> tuple[mx.array, mx.array]:
        """(row losses [B], correct first choices [B]) without gradients, lazily."""
        result: tuple[mx.array, mx.array] = self._judge(parameters, mx.array(tokens), mx.array(mask))
        return result


def _cast(arrays: Tree, dtype: mx.Dtype | None) -> Tree:
    return arrays if dtype is None else {name: value.astype(dtype) for name, value in arrays.items()}


def _power_of_two(count: int) -> int:
    """The smallest one that is not less than `count`."""
    return 1 << max(0, count - 1).bit_length()


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
