"""The slices of the optimizer's state that one replica keeps, and what it has for the others. On the device thread.

Between two steps a replica is either whole (it has all parameters, and its slices of the optimizer's state) or, right
after an update, it has new values of its own pieces alone (`weights`): the old parameters are of no use any more, and
the others' pieces come with the next order. A host vector carries them: `parameters | first kind of state | ...`, each
as long as the flat gradient; all but the first are there only when slices move, and only what moves is ever touched.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from runtime.cluster.messages import Order
from runtime.cluster.slices import Parcel, Portion, held_by, parcels
from runtime.ids import Rank
from runtime.models.host_copies import lock, to_device, to_host
from runtime.optim.clip import square_sum
from runtime.optim.flat import Tree
from runtime.optim.sharding import Piece, Slicing, kinds_of, piece_of
from runtime.trainer.host_vectors import HostVectors
from runtime.trainer.update import Numbers, Update

HostVector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HostPieces:
    """The pieces of a summed gradient that a rank keeps, flat, by their names."""

    portion: Portion
    values: Mapping[str, HostVector]


Gradient: TypeAlias = Tree | mx.array | HostPieces


@dataclass
class Slices:
    """Whose pieces lie where, and what this replica has of them. It never holds the parameters themselves."""

    slicing: Slicing
    update: Update
    dtypes: Mapping[str, mx.Dtype]
    kinds: tuple[str, ...]
    """What the optimizer remembers of parameters, the same on every worker."""
    host: HostVectors
    held: tuple[int, ...] = ()
    """Slices whose state is here, ascending."""
    weights: Tree = field(default_factory=dict)
    """The held pieces' new values, from an update until the parameters are whole again."""
    _kept: HostVector = field(default_factory=lambda: np.empty(0, np.float32))
    """What was kept of the last sum, for as long as `_last` lives; then it is used again."""
    _last: Callable[[], HostPieces | None] = lambda: None

    @staticmethod
    def of(parameters: Tree, update: Update, count: int, host: HostVectors) -> Slices:
        """Slices of these trained parameters, none of them held; `host` lends a vector to what travels."""
        slicing = Slicing(update.layout, count)
        kinds = kinds_of(update.initial(parameters))
        return Slices(slicing, update, {name: value.dtype for name, value in parameters.items()}, kinds, host)

    def forget(self) -> None:
        """Nothing is held any more."""
        self.held, self.weights = (), {}

    def begin(self, parameters: Tree, held: Sequence[int]) -> Tree:
        """The state before the first update, of these slices."""
        self.held, self.weights = tuple(held), {}
        return self.update.initial(self.slicing.cut(parameters, held))

    def adopt(self, whole_state: Tree, held: Sequence[int]) -> Tree:
        """These slices of a whole state."""
        self.held, self.weights = tuple(held), {}
        return self.slicing.cut_state(whole_state, held)

    def received(self, summed_N: HostVector, portion: Portion) -> HostPieces:
        """A copy of what came of a sum, on the host until it is needed: it may wait while the device is full."""
        pieces = self.slicing.within(portion.kept)
        elements = sum(piece.elements for piece in pieces)
        if self._kept.size != elements or self._last() is not None:
            self._kept = lock(np.empty(elements, np.float32))
        values, start = {}, 0
        for piece in pieces:
            values[piece.name] = self._kept[start : start + piece.elements]
            values[piece.name][:] = summed_N[piece.at : piece.at + piece.elements]
            start += piece.elements
        found = HostPieces(portion, values)
        self._last = weakref.ref(found)
        return found

    def square_sum(self, gradients: HostPieces) -> float:
        """Of the slices that this rank speaks for; slice by slice, so that little of them is on the device at once."""
        slices = ([piece.name for piece in self.slicing.pieces[index]] for index in gradients.portion.spoken)
        return math.fsum(float(square_sum(_on_device(gradients.values, names)).item()) for names in slices)

    def apply(self, parameters: Tree, state: Tree, gradient: Gradient, square: mx.array, numbers: Numbers) -> Tree:
        """Update the held pieces; returns the new state. The parameters are incomplete from now on.

        Of a gradient that came in part, the pieces that it is of: whatever else is here is somebody else's to keep.
        """
        if isinstance(gradient, HostPieces):
            self.held = gradient.portion.kept
            found = {piece.name: piece for piece in self.slicing.within(self.held)}
            values = _on_device(gradient.values, list(found))
            gradients = {name: piece.shaped(values.pop(name)) for name, piece in found.items()}
            kept = {name for piece in found for name in self._names(piece)}
            state = {name: value for name, value in state.items() if name in kept}
        elif isinstance(gradient, mx.array):
            gradients = self.slicing.cut_flat(gradient, self.held)
        else:
            gradients = self.slicing.cut(gradient, self.held)
        pieces = self.slicing.cut(parameters, self.held)
        self.weights, new = self.update.of_pieces(pieces, state, gradients, square, numbers)
        return new

    # ---- between two steps

    def lend(self, parameters: Tree, state: Tree, order: Order, rank: Rank) -> HostVector:
        """A host vector with everything that this rank sends; it is used again by the next call."""
        planned = parcels_of(order)
        size = self.slicing.layout.size
        moves = any(parcel.state_to for parcel in planned)
        vector = self._room(size, moves=moves)
        for parcel in (each for each in planned if each.sender == rank and each.parameters_to):
            pieces, weights = self.slicing.pieces[parcel.slice], self._weights(parameters, parcel.slice)
            to_host((weights[piece.name], _within(vector, piece)) for piece in pieces)
            for number, kind in enumerate(self.kinds if parcel.state_to else (), 1):
                part = vector[number * size : (number + 1) * size]
                names = [(f"{kind}.{piece.name}", piece) for piece in pieces]
                to_host((state.get(name, mx.zeros(piece.elements)), _within(part, piece)) for name, piece in names)
        return vector

    def complete(
        self, parameters: Tree, state: Tree, order: Order, rank: Rank, vector: HostVector
    ) -> tuple[Tree, Tree, int]:
        """(all parameters, the state of held and new slices, bytes that came), from what the others sent."""
        planned = parcels_of(order)
        came = [parcel for parcel in planned if rank in parcel.parameters_to]
        size_bytes = sum(self._bytes(parcel, rank) for parcel in came)
        on_record = set(held_by(rank, order.holders))
        if came or self.weights:
            own = [index for index in self.held if index in on_record]
            weights = {name: value for index in own for name, value in self._weights(parameters, index).items()}
            parameters = self.slicing.joined(weights, vector, self.dtypes)
        kept = {name for piece in self.slicing.within(on_record) for name in self._names(piece.name)}
        state = {name: value for name, value in state.items() if name in kept}
        moved = [parcel.slice for parcel in came if rank in parcel.state_to]
        state |= self._received(parameters, vector, moved)
        self.held, self.weights = tuple(sorted(on_record | set(moved))), {}
        return parameters, state, size_bytes

    def pieces_of(self, state: Tree, slices: Sequence[int]) -> tuple[Tree, dict[str, tuple[str, tuple[int, ...], int]]]:
        """The state of these slices as flat arrays, neighbours joined, and where each belongs: for a snapshot."""
        found: Tree = {}
        about: dict[str, tuple[str, tuple[int, ...], int]] = {}
        shapes = dict(zip(self.slicing.layout.names, self.slicing.layout.shapes, strict=True))
        wanted = {name for piece in self.slicing.within(slices) for name in self._names(piece.name)}
        places = sorted((*piece_of(name), name) for name in state if name in wanted)
        runs: list[list[tuple[str, str, int, str]]] = []
        stop = -1
        for place in places:
            kind, parameter, start, name = place
            if runs and runs[-1][-1][:2] == (kind, parameter) and start == stop:
                runs[-1].append(place)
            else:
                runs.append([place])
            stop = start + state[name].size
        for run in runs:
            kind, parameter, start, name = run[0]
            flats = [state[each[3]].reshape(-1) for each in run]
            found[name] = mx.concatenate(flats) if len(flats) > 1 else flats[0]
            about[name] = f"{kind}.{parameter}", shapes[parameter], start
        return found, about

    def _names(self, piece: str) -> list[str]:
        return [f"{kind}.{piece}" for kind in self.kinds]

    def _weights(self, parameters: Tree, index: int) -> Tree:
        """The present values of one held slice's pieces."""
        names = [piece.name for piece in self.slicing.pieces[index]]
        if all(name in self.weights for name in names):
            return {name: self.weights[name] for name in names}
        return self.slicing.cut(parameters, (index,))

    def _received(self, parameters: Tree, vector: HostVector, moved: Sequence[int]) -> Tree:
        """The optimizer's state of new slices."""
        size, state = self.slicing.layout.size, {}
        expected = self.update.initial(self.slicing.cut(parameters, moved))
        pieces = {piece.name: piece for piece in self.slicing.within(moved)}
        for name, value in expected.items():
            kind, _, piece_name = name.partition(".")
            piece = pieces[piece_name]
            at = (1 + self.kinds.index(kind)) * size + piece.at
            state[name] = piece.shaped(mx.array(vector[at : at + piece.elements]).astype(value.dtype))
        return state

    def _bytes(self, parcel: Parcel, rank: Rank) -> int:
        start, stop = self.slicing.span(parcel.slice)
        return 4 * (stop - start) * (1 + len(self.kinds) * (rank in parcel.state_to))

    def _room(self, size: int, *, moves: bool) -> HostVector:
        if moves:  # seldom, and memory that is not touched is not there
            return np.empty(size * (1 + len(self.kinds)), np.float32)
        return self.host.room()


def parcels_of(order: Order) -> tuple[Parcel, ...]:
    """What travels before the work of `order`."""
    return parcels((member.rank for member in order.members), order.holders, order.keepers)


def _within(vector: HostVector, piece: Piece) -> HostVector:
    return vector[piece.at : piece.at + piece.elements]


def _on_device(values: Mapping[str, HostVector], names: Sequence[str]) -> Tree:
    return dict(zip(names, to_device(values[name] for name in names), strict=True))
