"""A dict of arrays as one flat vector: what travels between devices, and what is cut into slices.

The order is that in which backward finishes: the head, then the layers from last to first, then the embedding, so that
the front of the vector can travel while the rest is still being computed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import mlx.core as mx

Tree: TypeAlias = dict[str, mx.array]
_EMBEDDING_WORDS = frozenset({"wte", "wpe"})


@dataclass(frozen=True)
class FlatLayout:
    """Where each array lies in the flat vector of N elements. Equal on every device that has the same model."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    """First element of each array; one more at the end: N."""

    @staticmethod
    def of(arrays: Mapping[str, mx.array]) -> FlatLayout:
        """The layout of these names and shapes; values and dtypes do not matter."""
        names = tuple(sorted(arrays, key=backward_order))
        shapes = tuple(tuple(arrays[name].shape) for name in names)
        offsets = tuple(itertools.accumulate((math.prod(shape) for shape in shapes), initial=0))
        return FlatLayout(names, shapes, offsets)

    @property
    def size(self) -> int:
        """N: elements of the whole vector."""
        return self.offsets[-1]

    def flatten(self, arrays: Mapping[str, mx.array]) -> mx.array:
        """One fp32 vector [N] of all arrays, lazily. KeyError for a missing one; others are passed over."""
        if not self.names:
            return mx.zeros(0, mx.float32)
        return mx.concatenate([arrays[name].reshape(-1).astype(mx.float32) for name in self.names])

    def unflatten(self, flat_N: mx.array) -> Tree:
        """The arrays inside a vector [N], of its dtype, lazily. Raises ValueError for a vector of another length."""
        if flat_N.shape != (self.size,):
            raise ValueError(f"a flat vector of shape {flat_N.shape} for a layout of {self.size} elements")
        pieces: Sequence[mx.array] = mx.split(flat_N, list(self.offsets[1:-1]))
        return {name: piece.reshape(shape) for name, shape, piece in zip(self.names, self.shapes, pieces, strict=False)}


def backward_order(name: str) -> tuple[int, int, str]:
    """Sort key: the head and what stands outside the layers, then layers from last to first, then embeddings."""
    index = layer_of(name)
    if index is not None:
        return 1, -index, name
    return (2 if is_embedding(name) else 0), 0, name


def layer_of(name: str) -> int | None:
    """The index of the layer that a parameter belongs to; None for what stands outside the layers."""
    return next((int(word) for word in name.split(".") if word.isdigit()), None)


def is_embedding(name: str) -> bool:
    """Whether a name is that of an embedding table: `model.embed_tokens.weight`, `transformer.wte.weight`."""
    return "embed" in name or not _EMBEDDING_WORDS.isdisjoint(name.split("."))
