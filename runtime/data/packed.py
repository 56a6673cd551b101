"""Micro-batches of packed rows: as few rows as the samples need, and no wider than that takes.

The widest row is that of the longest sample which the configuration allows; rows that would not be full are narrowed
together, so that a small share of a batch is not padded up to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.data.packing import best_fit, fill
from runtime.data.tokens import Samples
from runtime.flow import Micro, Packing
from runtime.ids import ShardId

Item = tuple[int, ShardId, int]
"""A sample: its number, its logical shard, its place among the samples of the shard."""


def narrowest(lengths: Sequence[int] | NDArray[np.int64], rows: int, multiple: int, widest: int) -> int:
    """Tokens of a row, one more than a multiple, such that best fit puts the samples into at most `rows` of them.

    `widest` is enough. A pure function of the lengths; the smallest width that bisection finds.
    """
    total = int(np.sum(lengths)) if len(lengths) else 0
    least = max(int(max(lengths, default=1)), math.ceil(total / max(rows, 1)), 2)
    low, high = math.ceil((least - 1) / multiple), math.ceil((widest - 1) / multiple)
    while low < high:
        middle = (low + high) // 2
        if len(best_fit(lengths, 1 + multiple * middle)) <= rows:
            high = middle
        else:
            low = middle + 1
    return 1 + multiple * high


def common_shape(lengths: Iterable[Sequence[int] | NDArray[np.int64]], multiple: int, widest: int) -> tuple[int, int]:
    """(rows, tokens of a row) into which each of these shards fits: what a step has where bits must not depend on who
    computes which shard."""
    shards = list(lengths)
    rows = max((len(best_fit(shard, widest)) for shard in shards), default=1) or 1
    tokens = max((narrowest(shard, rows, multiple, widest) for shard in shards), default=1 + multiple)
    if any(len(best_fit(shard, tokens)) > rows for shard in shards):  # more room can make best fit worse, rarely
        tokens = widest
    return rows, tokens


def items_of(shards: Mapping[ShardId, Sequence[int] | NDArray[np.int64]]) -> list[Item]:
    """The samples of the shards, shard by shard."""
    return [(int(sample), shard, place) for shard in sorted(shards) for place, sample in enumerate(shards[shard])]


def packed_micros(
    dataset: Samples, items: Sequence[Item], padding: ShardId, *, rows: int, at_once: int, tokens: int
) -> list[Micro]:
    """The samples in `rows` rows of `tokens`, at most `at_once` of them in a micro-batch, each of these of one shape.

    Rows without samples carry the shard `padding`. Raises ValueError for more samples than fit.
    """
    found = best_fit([dataset.length(sample) for sample, _, _ in items], tokens)
    pieces = math.ceil(rows / at_once)
    size = math.ceil(rows / pieces)
    if len(found) > pieces * size:
        raise ValueError(f"{len(items)} samples need {len(found)} rows of {tokens} tokens, not {rows}")
    found += [[] for _ in range(pieces * size - len(found))]
    return [
        _micro(
            dataset, [[items[at] for at in row] for row in found[piece * size : (piece + 1) * size]], padding, tokens
        )
        for piece in range(pieces)
    ]


def _micro(dataset: Samples, rows: Sequence[Sequence[Item]], padding: ShardId, tokens: int) -> Micro:
    filled = fill([[dataset.sample(sample) for sample, _, _ in row] for row in rows], tokens)
    return Micro(
        tuple(row[0][1] if row else padding for row in rows),
        filled.tokens_BT,
        filled.mask_BT,
        Packing(
            filled.segments_BT,
            filled.positions_BT,
            tuple(tuple((shard, place) for _, shard, place in row) for row in rows),
        ),
    )
