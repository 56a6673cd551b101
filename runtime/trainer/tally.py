"""Whose loss is whose: the losses of a micro-batch by logical shard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from runtime.flow import Array, Micro
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
