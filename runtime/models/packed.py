"""Several samples in one row, for models of mlx_lm as they are: each attends to itself alone.

A model asks the cache of a layer for its mask and for the keys and values so far. `OneRow` takes the cache's place: it
remembers nothing, begins at position 0 and answers with a block-diagonal mask. Positions need no restart, because
rotary ones count only by their differences; a model for which they do not (learned positions), or whose layers carry a
state along the row (Mamba and its kin), is refused by name.

Letters: B rows, S positions.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from runtime.config.architectures import KNOWN_BY_NAME, NOT_PACKABLE, unpackable
from runtime.errors import ModelError

_FIRST, _OTHER, _SECOND = [3, 1, 4, 1, 5], [2, 7, 1, 8, 2], [6, 1, 8, 0, 3, 3]
"""Two samples of a probing row, and what stands in the place of the first one for a second look."""


class OneRow:
    """Stands where a layer of mlx_lm expects its cache, in a forward pass over whole rows."""

    offset = 0

    def __init__(self, segments_BS: mx.array) -> None:
        """`segments_BS`: which sample of its row a position belongs to, from 1; 0 is padding."""
        self._mask_B1SS = attention_mask(segments_BS)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """What was computed is all there is."""
        return keys, values

    def make_mask(
        self, N: int, *, window_size: int | None = None, return_array: bool = False, offset: int = 0
    ) -> mx.array:
        """[B, 1, S, S] bool: whether a position attends to another, with a sliding window where the layer has one."""
        if window_size is None:
            return self._mask_B1SS
        places_S = mx.arange(N)
        return self._mask_B1SS & (places_S[:, None] - places_S[None, :] < window_size)


def attention_mask(segments_BS: mx.array) -> mx.array:
    """[B, 1, S, S] bool: the same sample and not later; padding attends to itself alone, so that no row is empty."""
    size = segments_BS.shape[1]
    places_S = mx.arange(size)
    same_BSS = segments_BS[:, :, None] == segments_BS[:, None, :]
    causal_SS = places_S[:, None] >= places_S[None, :]
    own_SS = places_S[:, None] == places_S[None, :]
    return ((same_BSS & causal_SS & (segments_BS != 0)[:, :, None]) | own_SS)[:, None]


def forward(model: Any, tokens_BS: mx.array, segments_BS: mx.array) -> mx.array:
    """Logits [B, S, V] of rows of several samples, lazily."""
    logits_BSV: mx.array = model(tokens_BS, cache=[OneRow(segments_BS)] * len(model.layers))
    return logits_BSV


def refuse_unpackable(model: Any, name: str) -> None:
    """Raise ModelError unless the samples of a row are independent in `model`, an architecture called `name`.

    Looks at two short samples in one row: the second must not change with the first, and must be what it is alone.
    """
    if name in NOT_PACKABLE:
        raise _refused(name, KNOWN_BY_NAME)
    first, second = len(_FIRST), len(_SECOND)
    segments_BS = mx.array([[1] * first + [2] * second, [1] * second + [2] * first])
    try:
        together = forward(model, mx.array([_FIRST + _SECOND, _SECOND + _FIRST]), segments_BS)
        beside_another = forward(model, mx.array([_OTHER + _SECOND, _SECOND + _OTHER]), segments_BS)
        alone_SV = _numbers(model(mx.array([_SECOND])))[0]
        second_SV, first_SV = _numbers(together)[0, first:], _numbers(together)[1, :second]
        other_SV = _numbers(beside_another)[0, first:]
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError) as error:
        raise _refused(name, "its layers keep a state along the row, or take no mask") from error
    tolerance = (1e-4 if together.dtype == mx.float32 else 5e-2) * float(np.std(alone_SV))
    if not np.max(np.abs(second_SV - other_SV)) <= tolerance:
        raise _refused(name, "a sample sees the one before it")
    if not max(np.max(np.abs(found - alone_SV)) for found in (first_SV, second_SV)) <= tolerance:
        raise _refused(name, "a sample's place in the row changes it")


def _numbers(logits_BSV: mx.array) -> Any:
    return np.array(logits_BSV.astype(mx.float32))


def _refused(name: str, reason: str) -> ModelError:
    return ModelError(f'{unpackable(name, reason)}; use "bucket"')
