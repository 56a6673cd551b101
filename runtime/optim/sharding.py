"""Slices of the flat vector, as the optimizer sees them (ZeRO-1; Rajbhandari et al., 2020, arXiv:1910.02054).

The vector of `flat` is cut into equally many slices on every device, without regard to where a parameter ends. What
lies in one slice of one parameter is a piece, and to an optimizer whose every element stands for itself a piece is a
parameter like any other: it is called `<parameter>.@<first element>`, and a piece of a matrix is a matrix of one row,
so that weight decay treats it alike. So an update of slices gives the bits that an update of everything gives.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from runtime.models.host_copies import to_device
from runtime.optim.flat import FlatLayout, Tree

_MARK = ".@"


@dataclass(frozen=True)
class Piece:
    """Elements `start` to `stop` (exclusive) of one flattened parameter, all of them in one slice."""

    parameter: str
    start: int
    stop: int
    at: int
    """Where it begins in the flat vector."""
    is_row: bool
    """Whether it is handed to the optimizer as a matrix of one row."""

    @property
    def name(self) -> str:
        """As the optimizer knows it."""
        return f"{self.parameter}{_MARK}{self.start}"

    @property
    def elements(self) -> int:
        """How many they are."""
        return self.stop - self.start

    def of(self, array: mx.array) -> mx.array:
        """This piece of an array of the whole parameter's shape, lazily."""
        return self.shaped(array.reshape(-1)[self.start : self.stop])

    def shaped(self, flat: mx.array) -> mx.array:
        """A flat vector of these elements in the piece's shape."""
        return flat.reshape(1, -1) if self.is_row else flat


class Slicing:
    """Where the slices of one layout lie."""

    def __init__(self, layout: FlatLayout, count: int) -> None:
        """`count` slices, equal to within one element."""
        self.layout, self.count = layout, count
        self.pieces = tuple(tuple(self._pieces(index)) for index in range(count))
        """Of each slice, in the order of the flat vector."""
        self.parts: dict[str, list[tuple[int, Piece]]] = {name: [] for name in layout.names}
        """Of each parameter its pieces in order, with the slice that each of them lies in."""
        for index, pieces in enumerate(self.pieces):
            for piece in pieces:
                self.parts[piece.parameter].append((index, piece))

    def span(self, index: int) -> tuple[int, int]:
        """First element of a slice in the flat vector, and the one after its last."""
        return span(self.layout.size, self.count, index)

    def _pieces(self, index: int) -> Iterable[Piece]:
        start, stop = self.span(index)
        layout = self.layout
        for name, shape, first in zip(layout.names, layout.shapes, layout.offsets, strict=False):
            last = first + math.prod(shape)
            low, high = max(start, first), min(stop, last)
            if low < high:
                yield Piece(name, low - first, high - first, low, len(shape) > 1)

    def within(self, slices: Iterable[int]) -> list[Piece]:
        """The pieces of these slices."""
        return [piece for index in slices for piece in self.pieces[index]]

    def cut(self, parameters: Mapping[str, mx.array], slices: Iterable[int]) -> Tree:
        """The pieces of these slices by name, in the parameters' dtypes, lazily."""
        return {piece.name: piece.of(parameters[piece.parameter]) for piece in self.within(slices)}

    def cut_flat(self, flat_N: mx.array, slices: Iterable[int]) -> Tree:
        """The same of a flat vector."""
        return {piece.name: piece.shaped(flat_N[piece.at : piece.at + piece.elements]) for piece in self.within(slices)}

    def cut_state(self, state: Mapping[str, mx.array], slices: Iterable[int]) -> Tree:
        """The same of a whole optimizer's state: `m.<parameter>` becomes `m.<piece>`."""
        pieces = self.within(slices)
        return {
            f"{kind}.{piece.name}": piece.of(state[f"{kind}.{piece.parameter}"])
            for kind in kinds_of(state)
            for piece in pieces
            if f"{kind}.{piece.parameter}" in state
        }

    def joined(
        self, held: Mapping[str, mx.array], received_N: npt.NDArray[np.float32] | None, dtypes: Mapping[str, mx.Dtype]
    ) -> Tree:
        """Whole parameters: pieces that are `held`, and the others out of a host vector, which they are copied from."""
        whole = {}
        for (name, parts), shape in zip(self.parts.items(), self.layout.shapes, strict=True):
            found = []
            for _, piece in parts:
                if piece.name in held:
                    found.append(held[piece.name].reshape(-1))
                else:
                    assert received_N is not None  # some pieces are others'
                    (value,) = to_device([received_N[piece.at : piece.at + piece.elements]])
                    found.append(value.astype(dtypes[name]))
            flat = mx.concatenate(found) if len(found) != 1 else found[0]
            whole[name] = flat.reshape(shape)
            mx.eval(whole[name])  # one at a time: what came is in float32, and all of it at once would be a second copy
        return whole


def span(elements: int, count: int, index: int) -> tuple[int, int]:
    """First and one past the last of the elements in slice `index` of `count`."""
    return elements * index // count, elements * (index + 1) // count


def kinds_of(state: Collection[str]) -> tuple[str, ...]:
    """What the optimizer remembers of parameters: the first words of its state's names, ascending."""
    return tuple(sorted({name.partition(".")[0] for name in state}))


def piece_of(name: str) -> tuple[str, str, int]:
    """(kind, parameter, first element) of a name in a state of slices: `m.<parameter>.@<first element>`."""
    whole, _, start = name.rpartition(_MARK)
    kind, _, parameter = whole.partition(".")
    return kind, parameter, int(start)
