"""Whether bad numbers come from the data or from a device: the shards in question are computed once more elsewhere.

    the step's numbers are bad       every worker measures its own part of the same sum (a round trip, no computation)
    a part stands out                its shards go to other workers, and the step is ordered again
    the others find the same         it is the data: the ladder of `explosion` goes on
    the others find nothing wrong    it is the device: said and counted; three times, and the worker leaves for good

A replica that drifted from all others is such a device too, and counted with the rest.

Pure: it looks at votes and says what to order. With a single worker there is nobody to ask.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.cluster.ballot import Ballot
from runtime.cluster.messages import Vote
from runtime.cluster.placement import take_over
from runtime.events import DataSuspected, DeviceSuspected
from runtime.ids import Rank, ShardId, Step

MOST_SUSPICIONS = 3
"""A device that was wrong so often is not asked any more."""
LARGE_PART = 0.5
"""A worker whose own part's norm is at least this share of the sum's may be the one that spoils it."""


@dataclass(frozen=True)
class Ask:
    """The same step again, with these owners of its shards."""

    owners: tuple[Rank, ...]
    inspect: bool
    """Whether every worker measures its own part."""
    why: str


@dataclass
class Inquiry:
    """The present step's inquiry, if there is one, and what earlier ones found."""

    step: int = -1
    inspected: bool = False
    moved: dict[Rank, tuple[ShardId, ...]] = field(default_factory=dict)
    """Whose shards were given to others, and which."""
    suspicions: Counter[Rank] = field(default_factory=Counter)

    def follow(self, ballot: Ballot, bad: str, active: Sequence[Rank]) -> Ask | None:
        """What to order before this complete ballot is counted; `bad` says what is wrong with it, if anything is."""
        order = ballot.order
        if order.step != self.step:
            self.step, self.inspected, self.moved = order.step, False, {}
        if not bad or self.moved or len(active) < 2:
            return None
        if not self.inspected and any(vote.own_square_sum == -1.0 for vote in ballot.votes.values()):
            self.inspected = True
            return Ask(order.owners, True, f"{bad}; each worker measures its own part")
        suspects = _suspects(ballot)
        self.moved = {rank: order.shards_of(rank) for rank in suspects}
        owners = _elsewhere(order.owners, suspects, active)
        names = ", ".join(map(str, suspects))
        return Ask(owners, False, f"{bad}; what worker {names} computed is computed once more by others")

    def found(self, bad: str) -> list[DataSuspected | DeviceSuspected]:
        """What the inquiry into the step that is counted now has found; nothing when there was none."""
        facts: list[DataSuspected | DeviceSuspected] = []
        for rank, shards in self.moved.items():
            if bad:
                facts.append(DataSuspected(Step(self.step), rank, shards, bad))
            else:
                self.suspect(rank)
                facts.append(DeviceSuspected(rank, Step(self.step), shards, self.suspicions[rank], MOST_SUSPICIONS))
        self.moved = {}
        return facts

    def suspect(self, rank: Rank) -> None:
        """This worker's device was wrong once more."""
        self.suspicions[rank] += 1

    @property
    def convicted(self) -> tuple[Rank, ...]:
        """Workers whose devices were wrong too often, ascending."""
        return tuple(sorted(rank for rank, times in self.suspicions.items() if times >= MOST_SUSPICIONS))


def _suspects(ballot: Ballot) -> tuple[Rank, ...]:
    """Whose part is not finite; else whose is large; else everybody's."""
    votes = {rank: ballot.votes[rank] for rank in sorted(ballot.votes)}
    broken = tuple(rank for rank, vote in votes.items() if not _is_finite(vote))
    total = next(iter(votes.values())).grad_square_sum
    large = tuple(rank for rank, vote in votes.items() if vote.own_square_sum >= LARGE_PART**2 * total)
    return broken or large or tuple(votes)


def _is_finite(vote: Vote) -> bool:
    return math.isfinite(vote.own_square_sum) and all(math.isfinite(tally.loss_sum) for tally in vote.tallies)


def _elsewhere(owners: Sequence[Rank], suspects: Sequence[Rank], active: Sequence[Rank]) -> tuple[Rank, ...]:
    """Other owners for the suspects' shards; if everybody is suspect, each takes over from the one before."""
    others = [rank for rank in active if rank not in suspects]
    if others:
        return take_over(owners, others)
    following = dict(zip(active, [*active[1:], active[0]], strict=True))
    return tuple(following[owner] for owner in owners)
