"""The pure schedule of a reduce-scatter: each slice of a sum reaches those who keep it, and nobody else.

One of a slice's keepers adds what all contributors have of it (hop one), and hands the sum to the others that keep it
(hop two; with a single keeper there is none). What it carries is half of an all-reduce: the other half is the updated
parameters, which `spread` carries when the step is committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import zip_longest

from runtime.collectives.buckets import Piece, spans
from runtime.collectives.exchange import Phase, Plan, Transfer
from runtime.ids import Rank


@dataclass(frozen=True)
class Share:
    """Elements `start` to `stop` (exclusive) of a sum, added by `owner` for all `keepers`, of which it is one."""

    owner: Rank
    start: int
    stop: int
    keepers: tuple[Rank, ...]


@dataclass(frozen=True)
class ScatterSchedule:
    """Who sends what to whom for one plan over `elements` elements. A pure function of its four fields.

    The shares lie one behind the other and cover all elements; `plan.receivers` are not asked.
    """

    plan: Plan
    elements: int
    piece_elements: int
    shares: tuple[Share, ...]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces, in the order in which every rank works through them."""
        return cut_shares(self.shares, self.piece_elements)

    @cached_property
    def peers(self) -> tuple[Rank, ...]:
        """Every rank that takes part, ascending."""
        return tuple(sorted({*self.plan.owners, *(rank for share in self.shares for rank in share.keepers)}))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What its messages are."""
        return Phase.REDUCE_SCATTER, Phase.ALL_GATHER

    @property
    def exact(self) -> bool:
        """Whether it travels in float32, whatever the wire's dtype."""
        return self.plan.deterministic

    def receivers_of(self, piece: Piece) -> tuple[Rank, ...]:
        """Who gets the sum of a piece, its owner included."""
        return self.shares[piece.bucket].keepers

    def at_once(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """What needs no sum before it is sent: nothing here."""
        return ()

    def owned_by(self, rank: Rank) -> tuple[Piece, ...]:
        """The pieces that `rank` sums."""
        return owned_shares(self.shares, self.piece_elements).get(rank, ())

    def scatter(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """Hop one from `source` to `target`: ready from the start, and sent in exactly this order."""
        if source == target:
            return ()
        terms = [number for number, term in enumerate(self.plan.terms) if term.rank == source]
        return tuple(Transfer(Phase.REDUCE_SCATTER, piece, term) for piece in self.owned_by(target) for term in terms)

    def messages(self, source: Rank, target: Rank) -> int:
        """How many messages `source` sends to `target` in both hops."""
        if source == target:
            return 0
        terms = sum(term.rank == source for term in self.plan.terms)
        return terms * len(self.owned_by(target)) + self._gathered[source, target]

    @cached_property
    def _gathered(self) -> Counter[tuple[Rank, Rank]]:
        return Counter((piece.owner, rank) for piece in self.pieces for rank in self.receivers_of(piece))


@lru_cache(maxsize=4)
def cut_shares(shares: tuple[Share, ...], piece_elements: int) -> tuple[Piece, ...]:
    """Every piece of these shares, round the owners, so that all of them start at once; its bucket is its share's
    number."""
    cut: dict[Rank, list[tuple[int, int, int]]] = {}
    for number, share in enumerate(shares):
        cut.setdefault(share.owner, []).extend(
            (number, *each) for each in spans(share.start, share.stop, piece_elements)
        )
    pieces: list[Piece] = []
    for turn in zip_longest(*cut.values()):
        for owner, span in zip(cut, turn, strict=True):
            if span is not None:
                number, start, stop = span
                pieces.append(Piece(len(pieces), number, owner, start, stop))
    return tuple(pieces)


@lru_cache(maxsize=4)
def owned_shares(shares: tuple[Share, ...], piece_elements: int) -> dict[Rank, tuple[Piece, ...]]:
    """The pieces of `cut_shares` by their owner; a cached value that nobody may change."""
    owned: dict[Rank, list[Piece]] = {}
    for piece in cut_shares(shares, piece_elements):
        owned.setdefault(piece.owner, []).append(piece)
    return {rank: tuple(each) for rank, each in owned.items()}
