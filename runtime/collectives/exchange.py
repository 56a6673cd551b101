"""The pure schedule of one all-reduce: direct reduce-scatter and all-gather, two hops, no ring.

Contributors own shards of the step, hence partial sums; each of them also owns one slice of every bucket. Hop one:
every contributor sends its terms of a piece to the piece's owner, which adds all terms in one fixed order. Hop two:
the owner sends the sum to every receiver. A receiver that contributes nothing (a newcomer) gets hop two only.

The fixed order is a program for a stack machine (`Term.merges`): in deterministic mode the terms are the nodes of the
canonical tree from left to right; otherwise there is one term per contributor, and they are chained by rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from runtime.collectives.buckets import Piece, cut, owned
from runtime.collectives.tree import merges_after
from runtime.flow import Node
from runtime.ids import Generation, Rank, Step


class Phase(IntEnum):
    """Which hop of an all-reduce a message belongs to, or that it goes from one rank to another and no further."""

    REDUCE_SCATTER = 1
    ALL_GATHER = 2
    DIRECT = 3
    DIRECT_TAKEN = 4
    """A direct message was taken by the one it was for: its channel has room for another."""
    SPREAD = 5
    """Of another exchange, in which nothing is added: see `spread`."""


def key_of(generation: Generation, step: Step, phase: Phase) -> tuple[int, int]:
    """Orders exchanges: of a later generation, or of a later step of the same one, is newer; and within a step what is
    spread comes before what is summed."""
    return generation, 2 * step + (phase is not Phase.SPREAD)


@dataclass(frozen=True)
class Plan:
    """One all-reduce, as every rank must see it. Wrong plans raise ValueError when they are made."""

    generation: Generation
    step: Step
    contributions: Mapping[Rank, tuple[Node, ...]]
    """The tree nodes for which each contributor holds a partial sum; ranks without shards are left out."""
    receivers: tuple[Rank, ...]
    total_shards: int
    deterministic: bool = False

    def __post_init__(self) -> None:
        if not self.contributions or not all(self.contributions.values()):
            raise ValueError("every contributor needs a partial sum, and a plan needs a contributor")
        if missing := set(self.contributions) - set(self.receivers):
            raise ValueError(f"ranks {sorted(missing)} contribute but would not receive the sum")
        if len(set(self.receivers)) != len(self.receivers):
            raise ValueError(f"a rank receives twice: {self.receivers}")
        merges_after(sorted(node for nodes in self.contributions.values() for node in nodes), self.total_shards)

    @property
    def key(self) -> tuple[int, int]:
        """Orders exchanges: see `key_of`."""
        return key_of(self.generation, self.step, Phase.ALL_GATHER)

    @cached_property
    def owners(self) -> tuple[Rank, ...]:
        """The ranks that sum a slice each: the contributors, ascending."""
        return tuple(sorted(self.contributions))

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """What is added, in this order, for every piece."""
        if not self.deterministic:
            chain = [
                Term(rank, tuple(sorted(self.contributions[rank])), min(i, 1)) for i, rank in enumerate(self.owners)
            ]
            return tuple(chain)
        leaves = sorted((node, rank) for rank, nodes in self.contributions.items() for node in nodes)
        program = merges_after((node for node, _ in leaves), self.total_shards)
        return tuple(Term(rank, (node,), merges) for (node, rank), merges in zip(leaves, program, strict=True))


@dataclass(frozen=True)
class Term:
    """An operand: the parts `nodes` of `rank`; once it is pushed, the two topmost values are added `merges` times."""

    rank: Rank
    nodes: tuple[Node, ...]
    merges: int


@dataclass(frozen=True)
class Transfer:
    """One message: a term of a piece on its way to the piece's owner, or a summed piece on its way to a receiver."""

    phase: Phase
    piece: Piece
    term: int = 0


@dataclass(frozen=True)
class Schedule:
    """Who sends what to whom for one plan over `elements` elements. A pure function of its four fields."""

    plan: Plan
    elements: int
    bucket_elements: int
    piece_elements: int

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """All pieces, in the order in which every rank works through them."""
        return cut(self.elements, self.plan.owners, self.bucket_elements, self.piece_elements)

    @property
    def peers(self) -> tuple[Rank, ...]:
        """Every rank that takes part, ascending."""
        return tuple(sorted(set(self.plan.receivers) | set(self.plan.owners)))

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
        return self.plan.receivers

    def at_once(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """What needs no sum before it is sent: nothing here."""
        return ()

    def owned_by(self, rank: Rank) -> tuple[Piece, ...]:
        """The pieces that `rank` sums."""
        pieces = owned(self.elements, self.plan.owners, self.bucket_elements, self.piece_elements)
        return pieces.get(rank, ())

    def scatter(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """Hop one from `source` to `target`: ready from the start, and sent in exactly this order."""
        if source == target:
            return ()
        terms = [i for i, term in enumerate(self.plan.terms) if term.rank == source]
        return tuple(Transfer(Phase.REDUCE_SCATTER, piece, i) for piece in self.owned_by(target) for i in terms)

    def gather(self, source: Rank, target: Rank) -> tuple[Transfer, ...]:
        """Hop two from `source` to `target`: each becomes ready when its piece is summed, in any order."""
        if source == target or target not in self.plan.receivers:
            return ()
        return tuple(Transfer(Phase.ALL_GATHER, piece) for piece in self.owned_by(source))

    def messages(self, source: Rank, target: Rank) -> int:
        """How many messages `source` sends to `target` in both hops."""
        if source == target:
            return 0
        terms = sum(term.rank == source for term in self.plan.terms)
        received = len(self.owned_by(source)) if target in self.plan.receivers else 0
        return terms * len(self.owned_by(target)) + received
