"""Whose loss is whose: the losses of a micro-batch by logical shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from runtime.cluster.messages import ShardTally
from runtime.flow import Array, Batch, Micro
from runtime.ids import ShardId


def tally_rows(micro: Micro, losses: Array) -> Iterator[tuple[ShardId, float, int]]:
    """(logical shard, loss sum, learnt tokens) of each sample, in the order of rows; padding counts nothing.

    `losses` are those of the rows [B], or of the targets [B, S] where rows hold several samples.
    """
    targets_BS = micro.mask_BT[:, 1:]
    if micro.packing is None:
        counts_B = np.asarray(targets_BS.sum(axis=-1))
        for shard, loss, count in zip(micro.shards, losses.tolist(), counts_B.tolist(), strict=True):
            yield shard, loss, int(count)
        return
    losses_BS = np.array(losses)
    for row, samples in enumerate(micro.packing.samples):
        owners = micro.packing.segments_BT[row, 1:]  # a loss is that of the token which is predicted
        sums = np.bincount(owners, losses_BS[row], len(samples) + 1)
        counts = np.bincount(owners, targets_BS[row], len(samples) + 1)
        for segment, (shard, _) in enumerate(samples, 1):
            yield shard, float(sums[segment]), int(counts[segment])


def tallied(batch: Batch, micros: Sequence[Micro], losses: Sequence[Array]) -> dict[ShardId, ShardTally]:
    """Every shard of `batch`: sums, and which samples it was. `losses` are those of `micros`, the batch's own in some
    order (see `tally_rows`)."""
    sums, tokens = dict.fromkeys(batch.shards, 0.0), dict.fromkeys(batch.shards, 0)
    for micro, of_micro in zip(micros, losses, strict=True):
        for shard, loss, count in tally_rows(micro, of_micro):
            sums[shard] += loss
            tokens[shard] += count
    samples = {shard: tuple(batch.sample_ids.get(shard, ())) for shard in batch.shards}
    return {ShardId(shard): ShardTally(ShardId(shard), sums[shard], tokens[shard], samples[shard]) for shard in sums}
