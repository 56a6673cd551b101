"""The pure schedule of an exchange in which nothing is added: spans of a vector go from one rank to others.

It carries what sharded workers have for each other at the boundary between two steps: updated parameters for everybody
and, when slices move, the optimizer's state for whoever keeps it from now on. Values travel in float32, to the bit.

A receiver's vector is complete where something was sent to it; a sender's must hold its spans before it begins.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from runtime.collectives.buckets import Piece, spans
from runtime.collectives.exchange import Phase, Term, Transfer, key_of
from runtime.ids import Generation, Rank, Step


@dataclass(frozen=True)
class Parcel:
    """Elements `start` to `stop` (exclusive), on their way from `sender` to `receivers`."""

    sender: Rank
    start: int
    stop: int
    receivers: tuple[Rank, ...]


@dataclass(frozen=True)
class Spread:
    """One such exchange, as every rank must see it; it comes before the sum of `step`."""

    generation: Generation
    step: Step
    parcels: tuple[Parcel, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Orders exchanges: see `key_of`."""
        return key_of(self.generation, self.step, Phase.SPREAD)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Nothing is added."""
        return ()

    @property
    def receivers(self) -> tuple[Rank, ...]:
        """Of sums: nobody."""
        return ()


@dataclass(frozen=True)
class SpreadSchedule:
    """Who sends what to whom for one `Spread` in a vector of `elements`. A pure function of its three fields."""

    plan: Spread
    elements: int
    piece_elements: int

    @cached_property
    def _cut(self) -> tuple[tuple[Piece, tuple[Rank, ...]], ...]:
        pieces: list[tuple[Piece, tuple[Rank, ...]]] = []
        for number, parcel in enumerate(self.plan.parcels):
            receivers = tuple(rank for rank in parcel.receivers if rank != parcel.sender)
            for start, stop in spans(parcel.start, parcel.stop, self.piece_elements) if receivers else ():
                pieces.append((Piece(len(pieces), number, parcel.sender, start, stop), receivers))
        return tuple(pieces)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces, one message to each of its receivers."""
        return tuple(piece for piece, _ in self._cut)

    @cached_property
    def peers(self) -> tuple[Rank, ...]:
        """Every rank that takes part, ascending."""
        return tuple(sorted({rank for piece, receivers in self._cut for rank in (piece.owner, *receivers)}))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What its messages are."""
        return (Phase.SPREAD,)

    @property
    def exact(self) -> bool:
        """Always: parameters are no gradients."""
        return True

    def receivers_of(self, piece: Piece) -> tuple[Rank, ...]:
        """Of a sum: nobody."""
        return ()

    def at_once(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """Everything that `source` sends to `target`, in this order."""
        return tuple(
            Transfer(Phase.SPREAD, piece)
            for piece, receivers in self._cut
            if piece.owner == source and target in receivers
        )

    def owned_by(self, rank: Rank) -> tuple[Piece, ...]:
        """The pieces that `rank` sums: none."""
        return ()

    def scatter(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """Terms of sums: none."""
        return ()

    @cached_property
    def _counts(self) -> Counter[tuple[Rank, Rank]]:
        return Counter((piece.owner, receiver) for piece, receivers in self._cut for receiver in receivers)

    def messages(self, source: Rank, target: Rank) -> int:
        """How many messages `source` sends to `target`."""
        return self._counts[source, target]
