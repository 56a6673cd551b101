"""What is on its way to other workers: flat float32 vectors on the host, filled leaf by leaf.

So a device never holds a second copy of its gradient, only of one leaf at a time. The vectors are used again: to write
to memory for the first time costs more than to write to it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.models.host_copies import lock, to_host
from runtime.optim.flat import FlatLayout, Tree


class HostVectors:
    """As many as are wanted at once."""

    def __init__(self, layout: FlatLayout) -> None:
        self._layout = layout
        self._vectors: list[npt.NDArray[np.float32]] = []

    def filled(self, number: int, tree: Tree) -> npt.NDArray[np.float32]:
        """Vector `number` [N] with the leaves of `tree`; whatever was in it is gone."""
        layout, vector = self._layout, self.room(number)
        places = zip(layout.names, layout.offsets, layout.offsets[1:], strict=False)
        to_host((tree[name], vector[start:stop]) for name, start, stop in places)
        return vector

    def room(self, number: int = 0) -> npt.NDArray[np.float32]:
        """Vector `number` with whatever is in it. Gradients and parameters take turns in the first one: what travels
        between two steps is gone before the next gradient is there."""
        while len(self._vectors) <= number:
            self._vectors.append(lock(np.empty(self._layout.size, np.float32)))
        return self._vectors[number]
