"""Which samples make up the global batch at a cursor, and which of them each logical shard holds.

The stream of samples is cut into windows of `window` global batches. Inside a window samples are sorted by length, cut
into batches, and the batches are shuffled: rows of one batch have nearly one length, and batches come in any order.
The samples of a batch are dealt to the shards like cards, so that every shard gets its share of long ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.data.order import SampleOrder, permute
from runtime.ids import Cursor, ShardId

_BATCH_ORDER, _SHORT_BATCH = 1 << 62, 1 << 61  # streams of their own, far from any epoch's


@dataclass(frozen=True)
class _Window:
    """The global batches of one stretch of the sample stream, in the order in which they are trained on."""

    batches: tuple[NDArray[np.int64], ...]


@dataclass(eq=False)
class BatchPlan:
    """A pure function of (seed, cursor, global batch size, lengths), with the last window remembered."""

    order: SampleOrder
    lengths: NDArray[np.int64]
    """Tokens of each sample."""
    global_batch_size: int
    window: int
    """Global batches per window; 1 keeps the stream's own batches."""
    total_samples: int | None = None
    """Where the run ends; None for a run counted in steps, whose stream never ends."""
    _windows: dict[int, _Window] = field(default_factory=dict, repr=False)

    def samples(self, cursor: Cursor, count: int) -> NDArray[np.int64]:
        """The `count` samples of the global batch that begins at `cursor`, shortest first.

        Raises ValueError for a cursor or a count that no step of this run has.
        """
        span = self.window * self.global_batch_size
        number, offset = divmod(cursor, span)
        batches = self._window(number).batches
        index, between = divmod(offset, self.global_batch_size)
        if between or index >= len(batches) or len(batches[index]) != count:
            raise ValueError(f"no step of this run takes {count} samples at cursor {cursor}")
        return batches[index]

    def shards(self, cursor: Cursor, count: int, total_shards: int) -> dict[ShardId, NDArray[np.int64]]:
        """The same samples by logical shard, each ascending in length; a short batch may leave shards empty."""
        samples = self.samples(cursor, count)
        return {ShardId(shard): samples[shard::total_shards] for shard in range(total_shards)}

    def _window(self, number: int) -> _Window:
        if number not in self._windows:
            made = self._make_window(number)
            self._windows = {number: made} | {
                old: kept for old, kept in self._windows.items() if abs(old - number) == 1
            }
        return self._windows[number]

    def _make_window(self, number: int) -> _Window:
        span, size = self.window * self.global_batch_size, self.global_batch_size
        start = number * span
        end = start + span if self.total_samples is None else min(start + span, self.total_samples)
        if end <= start:
            return _Window(())
        ids = self.order.ids(np.arange(start, end, dtype=np.int64))
        ids = ids[np.argsort(self.lengths[ids], kind="stable")]
        full, rest = divmod(len(ids), size)
        cuts = np.full(full + (rest > 0), size, np.int64)
        if rest:  # the run's last batch is short: it may hold samples of any length
            short = int(permute(np.zeros(1, np.int64), full + 1, self.order.seed, _SHORT_BATCH)[0])
            cuts[short] = rest
        batches = np.split(ids, np.cumsum(cuts)[:-1])
        last = [batches.pop(short)] if rest else []
        sequence = permute(np.arange(full, dtype=np.int64), max(full, 1), self.order.seed, _BATCH_ORDER + number)
        return _Window(tuple([batches[int(at)] for at in sequence] + last))
