"""The drift check: replicas that should be equal to the last bit are compared, and one that differs is not believed.

Memory flips bits, devices compute wrongly, and a replica that has drifted poisons every gradient that it adds. So its
vote does not count: the others take over its shards in the same step, as if it had died, while it fetches the committed
state from them. A device that does so again and again is dismissed (see `inquiry`). Only devices of one kind are
compared, since different kinds round differently. Without a majority nobody knows who is right, and everybody goes back
to the newest state that was agreed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.cluster.ballot import Ballot
from runtime.cluster.book import Again, Book, Next, RollBack
from runtime.events import ReplicaDrifted
from runtime.ids import Rank


@dataclass(frozen=True)
class Opinion:
    """What a comparison led to."""

    drifted: Mapping[Rank, str]
    """Ranks that differ from what more than half of their kind have; and what that is."""
    undecided: tuple[Rank, ...] = ()
    """Ranks that differ, with no majority on any side."""


def compare(hashes: Mapping[Rank, str], kinds: Mapping[Rank, str], *, among_equals: bool = True) -> Opinion:
    """Judge the parameters' hashes of some ranks, each kind of device by itself.

    Unless they are `among_equals` a majority proves nothing: what a holder of a slice has, others have from it.
    """
    drifted: dict[Rank, str] = {}
    undecided: list[Rank] = []
    for kind in sorted({kinds[rank] for rank in hashes}):
        alike = sorted(rank for rank in hashes if kinds[rank] == kind)
        (most, votes), *others = Counter(hashes[rank] for rank in alike).most_common()
        if 2 * votes > len(alike) and (among_equals or not others):
            drifted |= {rank: most for rank in alike if hashes[rank] != most}
        elif others:
            undecided += alike
    return Opinion(drifted, tuple(undecided))


def verified(book: Book, ballot: Ballot) -> Next | None:
    """Compare the voters of a complete ballot; None when the step may commit."""
    hashes, roster, at = ballot.hashes, book.roster, book.at.step
    if len(ballot.order.contributors) == 1:
        book.verified_at = at  # whoever is alone is right
    if not hashes:
        return None
    kinds = {rank: f"{roster.entries[rank].join.device}, stage {book.grid.stage_of(rank)}" for rank in hashes}
    opinion = compare(hashes, kinds, among_equals=not roster.slices)
    expected = {**opinion.drifted, **dict.fromkeys(opinion.undecided, "")}
    for rank, expectation in expected.items():
        entry = roster.entries[rank]
        book.publish(ReplicaDrifted(at, rank, entry.join.incarnation, hashes[rank], expectation))
    if opinion.undecided:
        book.saves.distrust(book.verified_at)
        return RollBack(f"{_names(opinion.undecided)} differ after step {at}, and nobody knows which of them is right")
    if book.plan.stages == 1:  # of a pipeline each stage has a hash of its own, and a checkpoint that of the whole
        book.saves.vouch(at, Counter(hashes.values()).most_common(1)[0][0])
    if opinion.drifted:
        book.saves.distrust(book.verified_at, opinion.drifted)
        book.restart_newcomers("it fetched its state from a worker that had drifted")
        roster.distrust(*(roster.entries[rank] for rank in opinion.drifted))
        for rank in opinion.drifted:
            book.inquiry.suspect(rank)
        return Again(f"{_names(tuple(opinion.drifted))} drifted from the others")
    book.verified_at = at
    return None


def _names(ranks: tuple[Rank, ...]) -> str:
    return ("worker " if len(ranks) == 1 else "workers ") + ", ".join(str(rank) for rank in sorted(ranks))
