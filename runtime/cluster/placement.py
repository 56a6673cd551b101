"""Which worker computes which logical shards: pure, so that every decision can be replayed.

Shards move within a step only when a worker dies; between steps they are dealt anew when members or speeds have changed
(`division`), in contiguous runs, so that a power of two of equal workers owns whole subtrees of the summation tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from runtime.ids import Rank


def deal(ranks: Sequence[Rank], shards: int, speeds: Mapping[Rank, float] | None = None) -> tuple[Rank, ...]:
    """Owner of each shard 0..shards-1: contiguous runs in rank order, sized so that the last worker ends earliest.

    Shards are alike, so giving each to whoever would end it first is the optimum (a speed that is not known counts as
    1); ties go to the lower rank. With at least as many shards as ranks, everybody gets one, and is measured.
    """
    weights = {rank: max((speeds or {}).get(rank, 1.0), 1e-9) for rank in sorted(ranks)}
    counts = dict.fromkeys(weights, 1 if shards >= len(weights) else 0)
    for _ in range(shards - sum(counts.values())):
        first = min(weights, key=lambda rank: (counts[rank] + 1) / weights[rank])
        counts[first] += 1
    return tuple(rank for rank, count in counts.items() for _ in range(count))


def counts_of(owners: Sequence[Rank]) -> dict[Rank, int]:
    """How many shards each owner has, by rank."""
    return dict(sorted(Counter(owners).items()))


def finish_time(owners: Sequence[Rank], speeds: Mapping[Rank, float]) -> float:
    """When the last owner ends, in shards per unit of `speeds`: the quantity that `deal` minimises."""
    return max(count / max(speeds.get(rank, 1.0), 1e-9) for rank, count in counts_of(owners).items())


def take_over(owners: Sequence[Rank], survivors: Sequence[Rank]) -> tuple[Rank, ...]:
    """Owners after some have died: survivors keep every shard they own, orphans go to whoever owns fewest.

    A survivor's finished work is never thrown away, which is what makes a death cost only the dead worker's share.
    """
    load = dict.fromkeys(sorted(survivors), 0)
    for owner in owners:
        if owner in load:
            load[owner] += 1
    result = []
    for owner in owners:
        heir = owner
        if owner not in load:
            heir = min(load, key=lambda rank: (load[rank], rank))
            load[heir] += 1
        result.append(heir)
    return tuple(result)
