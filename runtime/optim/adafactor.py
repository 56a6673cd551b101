"""Adafactor (Shazeer and Stern, 2018, arXiv:1804.04235): a second moment of rows and columns instead of elements.

    b = 1 - t^-0.8               r = b r + (1 - b) mean over columns of (g^2 + 1e-30)        c: the same over rows
    u = g / sqrt(r c / mean(r))  u = u / max(1, RMS(u))                                      p = p - lr wd p - lr u

A vector keeps its whole second moment. The rate is the schedule's and absolute (the paper's relative steps and its
factor RMS(p) are off, as where a rate is given elsewhere), so it is of AdamW's size; betas and eps are not used, and
there is no first moment. Not element-wise: a row, a column and the clipping need the whole parameter.
"""

from __future__ import annotations

from collections.abc import Mapping

import mlx.core as mx

from runtime.optim.clip import square_sum
from runtime.optim.flat import Tree
from runtime.optim.rule import Numbers, Shape

elementwise = False

_DECAY_EXPONENT = -0.8
_SQUARE_GUARD = 1e-30
_MOST_RMS = 1.0


def moments(name: str, shape: Shape) -> dict[str, Shape]:
    """Means of squares over the last axis and over the one before it; of a vector, the squares."""
    if len(shape) < 2:
        return {"v": shape}
    return {"row": shape[:-1], "col": shape[:-2] + shape[-1:]}


def advance(
    name: str, weight: mx.array, gradient: mx.array, moments: Mapping[str, mx.array], decay: float, numbers: Numbers
) -> tuple[mx.array, Tree]:
    """See Rule."""
    fresh = mx.power(mx.array(numbers.step, mx.float32), _DECAY_EXPONENT)
    squares = mx.square(gradient) + _SQUARE_GUARD
    after: Tree
    if "v" in moments:
        after = {"v": _followed(moments["v"], squares, fresh)}
        update = mx.rsqrt(after["v"]) * gradient
    else:
        row, col = (
            _followed(moments[kind], squares.mean(axis=axis), fresh) for kind, axis in (("row", -1), ("col", -2))
        )
        after = {"row": row, "col": col}
        rows = mx.rsqrt(row / row.mean(axis=-1, keepdims=True))
        update = mx.expand_dims(rows, -1) * mx.expand_dims(mx.rsqrt(col), -2) * gradient
    rms = mx.sqrt(square_sum({name: update}) / max(1, update.size))
    update = update / mx.maximum(1.0, rms / _MOST_RMS)
    if decay:
        weight = weight * (1 - numbers.lr * decay)
    return weight - numbers.lr * update, after


def _followed(before: mx.array, value: mx.array, fresh: mx.array) -> mx.array:
    """A moving average; `fresh` is the weight of the newest value, 1 at the first step."""
    return (1 - fresh) * before + fresh * value
