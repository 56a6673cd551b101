"""Gradients on their way to other workers: flat float32 vectors on the host, filled leaf by leaf.

So a device never holds a second copy of its gradient, only of one leaf at a time. The vectors are used again: to write
to memory for the first time costs more than to write to it.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from runtime.optim.flat import FlatLayout, Tree
from runtime.trainer.arrays import readable


class HostVectors:
    """As many as are wanted at once."""

    def __init__(self, layout: FlatLayout) -> None:
        self._layout = layout
        self._vectors: list[npt.NDArray[np.float32]] = []

    def filled(self, number: int, tree: Tree) -> npt.NDArray[np.float32]:
        """Vector `number` [N] with the leaves of `tree`; whatever was in it is gone."""
        layout = self._layout
        while len(self._vectors) <= number:
            self._vectors.append(np.empty(layout.size, np.float32))
        vector = self._vectors[number]
        for name, start, stop in zip(layout.names, layout.offsets, layout.offsets[1:], strict=False):
            leaf = readable({name: tree[name].reshape(-1).astype(mx.float32)})[name]
            vector[start:stop] = np.asarray(leaf)
        return vector
