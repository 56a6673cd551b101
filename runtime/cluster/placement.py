"""Which worker computes which logical shards: pure, so that every decision can be replayed.

Shards move only when a worker dies within a step; between steps they are dealt anew, in contiguous runs, so that a
power of two of equal workers owns whole subtrees of the summation tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.ids import Rank


def deal(ranks: Sequence[Rank], shards: int, speeds: Mapping[Rank, float] | None = None) -> tuple[Rank, ...]:
    """Owner of each shard 0..shards-1: contiguous runs in rank order, sized by speed (equal when none is known).

    Largest-remainder rounding; ties go to the lower rank. With at least as many shards as ranks, everybody gets one.
    """
    ordered = sorted(ranks)
    weights = [max((speeds or {}).get(rank, 1.0), 1e-9) for rank in ordered]
    total = sum(weights)
    ideal = [shards * weight / total for weight in weights]
    counts = [int(share) for share in ideal]
    by_remainder = sorted(range(len(ordered)), key=lambda i: (-(ideal[i] - counts[i]), i))
    for i in by_remainder[: shards - sum(counts)]:
        counts[i] += 1
    if shards >= len(ordered):
        for i, count in enumerate(counts):
            if count == 0:
                counts[counts.index(max(counts))] -= 1
                counts[i] = 1
    return tuple(rank for rank, count in zip(ordered, counts, strict=True) for _ in range(count))


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
