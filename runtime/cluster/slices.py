"""Who holds which slice of the optimizer's state when it is sharded (ZeRO-1). Pure.

The flat vector of all trained elements is cut into `SLICES` spans, however many workers there are, and each is kept by
`replicas` of them (by all, where they are fewer; see `copies_of`). A change of members deals the slices anew: whoever
stays keeps what it has, as far as that leaves everybody with an equal share.

Every order says who holds which slice of its state, and who shall keep it from now on. Its members first spread what
the others lack (`parcels`): updated parameters to everybody, and the optimizer's state of slices that move to those who
keep them. A vote vouches that the voter got its slices, so a commit is what makes the new holders the holders; until
then the old ones keep what they have. When a slice has no holder left the run goes back to the newest checkpoint.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from runtime.ids import Rank

SLICES = 120
"""A multiple of every number of workers up to 6 and of 8, 10 and 12: they all get equal shares."""

Holders: TypeAlias = tuple[tuple[Rank, ...], ...]
"""The ranks that hold each slice, ascending; empty when nothing is sharded."""


def copies_of(workers: int, replicas: int) -> int:
    """How many of a run's `workers` keep each slice: `replicas`, but never all of them, because then nothing would be
    sharded. So two workers keep one half each, and the loss of one goes back to the newest checkpoint."""
    return max(1, min(replicas, workers - 1))


@dataclass(frozen=True)
class Parcel:
    """What must travel of one slice before the work of an order begins."""

    slice: int
    sender: Rank
    parameters_to: tuple[Rank, ...]
    state_to: tuple[Rank, ...]
    """The ranks that get the optimizer's state as well."""


@dataclass(frozen=True)
class Portion:
    """What one rank gets of a gradient that is summed in slices only (a reduce-scatter): those that it keeps."""

    rank: Rank
    keepers: Holders

    @property
    def kept(self) -> tuple[int, ...]:
        """Its slices, ascending."""
        return held_by(self.rank, self.keepers)

    @property
    def spoken(self) -> tuple[int, ...]:
        """Those of them whose norm it tells of: each slice has one keeper who does."""
        return tuple(index for index, speaker in enumerate(senders(self.keepers)) if speaker == self.rank)


def parcels(members: Iterable[Rank], holders: Holders, keepers: Holders) -> tuple[Parcel, ...]:
    """What is sent so that every member has all parameters, and every keeper its slices; one for each slice."""
    ranks = sorted(members)
    found = []
    for index, (sender, have, keep) in enumerate(zip(senders(holders), holders, keepers, strict=True)):
        without = tuple(rank for rank in ranks if rank not in have)
        found.append(Parcel(index, sender, without, tuple(rank for rank in without if rank in keep)))
    return tuple(found)


def senders(holders: Holders) -> tuple[Rank, ...]:
    """The holder that speaks for each slice: in runs, so that each has about as many. ValueError if one has none."""
    limit = -(-len(holders) // max(1, len({rank for have in holders for rank in have})))
    load: Counter[Rank] = Counter()
    found: list[Rank] = []
    for index, have in enumerate(holders):
        if not have:
            raise ValueError(f"nobody holds slice {index} of the optimizer's state")
        goes_on = found and found[-1] in have and load[found[-1]] < limit
        sender = found[-1] if goes_on else min(have, key=lambda rank: (load[rank], rank))
        load[sender] += 1
        found.append(sender)
    return tuple(found)


def held_by(rank: Rank, holders: Holders) -> tuple[int, ...]:
    """The slices of one rank, ascending."""
    return tuple(index for index, have in enumerate(holders) if rank in have)


def holders_of(slices_of: Mapping[Rank, Collection[int]], count: int) -> Holders:
    """The other way round: who holds each of `count` slices."""
    return tuple(tuple(sorted(rank for rank, own in slices_of.items() if index in own)) for index in range(count))


def deal_slices(workers: Iterable[Rank], holders: Holders, replicas: int) -> Holders:
    """Who shall keep each slice: `replicas` of the workers (all, if they are fewer), each as many slices as the others
    or one more, and as many as possible of those that it holds already."""
    ranks = sorted(workers)
    copies = min(replicas, len(ranks))
    kept = [{rank for rank in have if rank in ranks} for have in holders]
    if not any(kept):
        kept = [
            {ranks[(index * len(ranks) // len(kept) + c) % len(ranks)] for c in range(copies)}
            for index in range(len(kept))
        ]
    room = _targets(ranks, kept, copies)
    for rank in (rank for have in kept for rank in have):
        room[rank] -= 1
    _let_go(kept, room, copies)
    for index, have in enumerate(kept):
        for _ in range(copies - len(have)):
            _place(index, kept, room)
    return tuple(tuple(sorted(have)) for have in kept)


def _targets(ranks: Sequence[Rank], kept: Sequence[set[Rank]], copies: int) -> dict[Rank, int]:
    """How many slices each rank gets; one more for those that hold the most, where they do not come out even."""
    base, extra = divmod(len(kept) * copies, len(ranks))
    load = Counter(rank for have in kept for rank in have)
    fullest = sorted(ranks, key=lambda rank: (-load[rank], rank))
    return {rank: base + (position < extra) for position, rank in enumerate(fullest)}


def _let_go(kept: list[set[Rank]], room: dict[Rank, int], copies: int) -> None:
    """Copies that are too many go first, of the fullest ranks; then what a rank has beyond its share, from behind."""
    for have in kept:
        while len(have) > copies:
            fullest = min(have, key=lambda rank: (room[rank], -rank))
            have.discard(fullest)
            room[fullest] += 1
    for have in reversed(kept):
        for rank in sorted(have):
            if room[rank] < 0:
                have.discard(rank)
                room[rank] += 1


def _place(index: int, kept: list[set[Rank]], room: dict[Rank, int]) -> None:
    """Give one more copy of a slice to a rank with room, perhaps by way of ranks that hand another slice on.

    There is always one: an equal deal of equally many copies exists, and a shortest path leads to it.
    """
    queue = deque(sorted((rank for rank in room if rank not in kept[index]), key=lambda rank: (-room[rank], rank)))
    came: dict[Rank, tuple[Rank, int] | None] = dict.fromkeys(queue)
    while True:
        rank = queue.popleft()
        if room[rank] > 0:
            break
        for other, have in enumerate(kept):
            for taker in (taker for taker in room if rank in have and taker not in have and taker not in came):
                came[taker] = rank, other
                queue.append(taker)
    room[rank] -= 1
    while (handed := came[rank]) is not None:
        giver, other = handed
        kept[other].discard(giver)
        kept[other].add(rank)
        rank = giver
    kept[index].add(rank)
