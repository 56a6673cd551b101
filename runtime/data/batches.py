"""Rows for the device: the samples of some logical shards, padded into micro-batches of few different shapes.

Letters: B rows, T tokens. A row of T tokens gives the model T - 1 positions, so T is one more than a multiple.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.data.packed import common_shape, items_of, narrowest, packed_micros
from runtime.data.packing import best_fit
from runtime.data.tokens import Samples, TokenDataset
from runtime.flow import Micro
from runtime.ids import ShardId


@dataclass(frozen=True)
class Shaping:
    """How rows become micro-batches."""

    micro_batch_size: int
    """Rows at once, at most; without a meaning where there is a budget of tokens."""
    pad_multiple: int
    deterministic: bool = False
    """True: one shape for the whole global batch, and no micro-batch holds rows of two shards."""
    tokens_per_batch: int = 0
    """> 0: as many rows at once as have this many positions, padding included; one row where it alone has more."""
    row_tokens: int = 0
    """> 0: rows of up to this many tokens (one more than a multiple) hold several samples; 0: a row is a sample."""

    def rows_at_once(self, tokens: int) -> int:
        """Rows of this many tokens that go through the model at once, at most."""
        if not self.tokens_per_batch:
            return self.micro_batch_size
        return max(1, self.tokens_per_batch // (tokens - 1))


@dataclass(frozen=True)
class GlobalShape:
    """What every worker knows of a global batch, whoever owns its shards."""

    rows_per_shard: int
    longest: int
    """Tokens of its longest row."""


def global_shape(
    dataset: Samples, shards: Mapping[ShardId, NDArray[np.int64]], rows_per_shard: int, shaping: Shaping
) -> GlobalShape:
    """The one shape of a global batch, all of whose `shards` are given; only looked at with `deterministic`.

    `rows_per_shard` is the most samples that a shard of this run may have.
    """
    if not shaping.deterministic:
        return GlobalShape(rows_per_shard, 0)
    lengths = [[dataset.length(int(sample)) for sample in samples] for samples in shards.values()]
    if shaping.row_tokens:
        return GlobalShape(*common_shape(lengths, shaping.pad_multiple, shaping.row_tokens))
    return GlobalShape(rows_per_shard, max((max(shard, default=1) for shard in lengths), default=1))


def padded_tokens(length: int, multiple: int) -> int:
    """Tokens of a row for `length` of them: one more than a multiple, because the last one is only a target."""
    return 1 + multiple * max(1, math.ceil((length - 1) / multiple))


def make_micros(
    dataset: Samples,
    shards: Mapping[ShardId, Sequence[int] | NDArray[np.int64]],
    shape: GlobalShape,
    shaping: Shaping,
) -> tuple[Micro, ...]:
    """Micro-batches that hold every sample of `shards` exactly once; everything else in them has mask 0.

    Never empty: shards without samples give one row of padding. With `deterministic`, the result for a shard depends on
    the shard and on `shape` alone, so that workers may trade shards without changing a bit.
    """
    if shaping.deterministic:
        return tuple(
            micro for shard in sorted(shards) for micro in _shard_alone(dataset, shard, shards[shard], shape, shaping)
        )
    if shaping.row_tokens:
        return _packed(dataset, shards, shaping)
    rows = [(int(sample), shard) for shard in sorted(shards) for sample in shards[shard]]
    rows.sort(key=lambda row: dataset.length(row[0]))
    if not rows:
        return (_micro(dataset, [], min(shards, default=ShardId(0)), 1, padded_tokens(1, shaping.pad_multiple)),)
    return tuple(_merged(dataset, chunk, shaping) for chunk in _chunks(dataset, rows, shaping))


def _packed(
    dataset: Samples, shards: Mapping[ShardId, Sequence[int] | NDArray[np.int64]], shaping: Shaping
) -> tuple[Micro, ...]:
    """The samples of all shards together, in as few rows as best fit needs."""
    items, widest = items_of(shards), shaping.row_tokens
    lengths = [dataset.length(sample) for sample, _, _ in items]
    at_once = shaping.rows_at_once(widest)
    rows = max(1, len(best_fit(lengths, widest)))
    pieces = math.ceil(rows / at_once)
    rows = pieces * math.ceil(rows / pieces)
    tokens = narrowest(lengths, rows, shaping.pad_multiple, widest)
    padding = min(shards, default=ShardId(0))
    return tuple(packed_micros(dataset, items, padding, rows=rows, at_once=at_once, tokens=tokens))


def _chunks(dataset: Samples, rows: list[tuple[int, ShardId]], shaping: Shaping) -> Iterator[list[tuple[int, ShardId]]]:
    """The rows, shorter ones first, in pieces of as many as may go through the model at once."""
    start = 0
    for end, (sample, _) in enumerate(rows):
        tokens = padded_tokens(dataset.length(sample), shaping.pad_multiple)
        if end - start >= shaping.rows_at_once(tokens):
            yield rows[start:end]
            start = end
    yield rows[start:]


def _shard_alone(
    dataset: Samples,
    shard: ShardId,
    samples: Sequence[int] | NDArray[np.int64],
    shape: GlobalShape,
    shaping: Shaping,
) -> list[Micro]:
    """One shard in micro-batches of the global batch's one shape."""
    if shaping.row_tokens:
        rows, tokens, items = shape.rows_per_shard, shape.longest, items_of({shard: samples})
        return packed_micros(dataset, items, shard, rows=rows, at_once=shaping.rows_at_once(tokens), tokens=tokens)
    tokens = padded_tokens(shape.longest, shaping.pad_multiple)
    pieces = math.ceil(shape.rows_per_shard / shaping.rows_at_once(tokens))
    rows_at_once = math.ceil(shape.rows_per_shard / pieces)
    alone = [(int(sample), shard) for sample in samples]
    return [
        _micro(dataset, alone[piece * rows_at_once : (piece + 1) * rows_at_once], shard, rows_at_once, tokens)
        for piece in range(pieces)
    ]


def _merged(dataset: Samples, rows: list[tuple[int, ShardId]], shaping: Shaping) -> Micro:
    """Rows of several shards; their number is padded to a power of two, so that few shapes are ever compiled."""
    longest = max(dataset.length(sample) for sample, _ in rows)
    tokens = padded_tokens(longest, shaping.pad_multiple)
    count = min(shaping.rows_at_once(tokens), 1 << (len(rows) - 1).bit_length())
    return _micro(dataset, rows, rows[-1][1], count, tokens)


def _micro(dataset: Samples, rows: list[tuple[int, ShardId]], padding_shard: ShardId, count: int, tokens: int) -> Micro:
    tokens_BT = np.zeros((count, tokens), np.int32)
    mask_BT = np.zeros((count, tokens), np.float32)
    for row, (sample, _) in enumerate(rows):
        ids, mask = dataset.sample(sample)
        tokens_BT[row, : len(ids)] = ids
        mask_BT[row, : len(mask)] = mask
    owners = [shard for _, shard in rows] + [padding_shard] * (count - len(rows))
    return Micro(tuple(owners), tokens_BT, mask_BT)


def eval_micros(
    dataset: TokenDataset, share: int, shares: int, shaping: Shaping, max_batches: int = 0
) -> tuple[Micro, ...]:
    """Share `share` (0 .. shares-1) of the evaluation's micro-batches; all shares together hold every sample once.

    Samples are batched by length before they are shared out, so the batches do not depend on the number of workers.
    `max_batches` > 0 keeps that many of all, evenly spread over the lengths. Micro.shards is 0 throughout.
    """
    by_length = np.argsort(dataset.lengths, kind="stable")
    size = shaping.micro_batch_size
    batches = [by_length[at : at + size] for at in range(0, len(by_length), size)]
    if 0 < max_batches < len(batches):
        batches = [batches[int((at + 0.5) * len(batches) / max_batches)] for at in range(max_batches)]
    rows = [[(int(sample), ShardId(0)) for sample in batch] for batch in batches[share::shares]]
    return tuple(_merged(dataset, batch, shaping) for batch in rows)
