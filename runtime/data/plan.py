"""Which samples make up the global batch at a cursor, and which of them each logical shard holds.

The stream of samples is cut into windows of at most `window` global batches, none of which reaches over the end of an
epoch; a batch that does is a window of its own. Inside a window samples are sorted by length, cut into batches, and the
batches are shuffled: rows of one batch have nearly one length, and batches come in any order. So every sample is taken
once in its epoch. The samples of a batch are dealt to the shards like cards, so that every shard gets its share of long
ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.data.order import Order, permute
from runtime.data.tokens import Lengths
from runtime.ids import Cursor, ShardId

_BATCH_ORDER, _SHORT_BATCH = 1 << 62, 1 << 61  # streams of their own, far from any epoch's


@dataclass(frozen=True)
class _Window:
    """The global batches of one stretch of the sample stream, in the order in which they are trained on."""

    batches: tuple[NDArray[np.int64], ...]


@dataclass(eq=False)
class BatchPlan:
    """A pure function of (seed, cursor, global batch size, lengths), with the last window remembered."""

    order: Order
    lengths: Lengths
    """Tokens of each sample, or a measure of them; an array, or what answers as one."""
    global_batch_size: int
    window: int
    """Global batches per window, at most; 1 keeps the stream's own batches."""
    total_samples: int | None = None
    """Where the run ends; None for a run counted in steps, whose stream never ends."""
    _windows: dict[int, _Window] = field(default_factory=dict, repr=False)

    def samples(self, cursor: Cursor, count: int) -> NDArray[np.int64]:
        """The `count` samples of the global batch that begins at `cursor`, shortest first.

        Raises ValueError for a cursor or a count that no step of this run has.
        """
        batch, between = divmod(cursor, self.global_batch_size)
        first = self._window_start(batch)
        batches = self._window(first).batches
        index = batch - first
        if between or index >= len(batches) or len(batches[index]) != count:
            raise ValueError(f"no step of this run takes {count} samples at cursor {cursor}")
        return batches[index]

    def shards(self, cursor: Cursor, count: int, total_shards: int) -> dict[ShardId, NDArray[np.int64]]:
        """The same samples by logical shard, each ascending in length; a short batch may leave shards empty."""
        samples = self.samples(cursor, count)
        return {ShardId(shard): samples[shard::total_shards] for shard in range(total_shards)}

    def _window_start(self, batch: int) -> int:
        """First batch of the window that holds `batch`; batches are counted over the whole run."""
        size, samples = self.global_batch_size, self.order.count
        epoch = batch * size // samples
        whole = -(-epoch * samples // size)  # the first batch that begins in this epoch
        if (batch + 1) * size > (epoch + 1) * samples:
            return batch
        return whole + (batch - whole) // self.window * self.window

    def _window_end(self, first: int) -> int:
        """The batch after the last one of the window that begins with `first`."""
        size, samples = self.global_batch_size, self.order.count
        epoch = first * size // samples
        return max(first + 1, min(first + self.window, (epoch + 1) * samples // size))

    def _window(self, first: int) -> _Window:
        if first not in self._windows:
            made = self._make_window(first)
            near = {old: kept for old, kept in self._windows.items() if abs(old - first) <= self.window}
            self._windows = {first: made} | near
        return self._windows[first]

    def _make_window(self, first: int) -> _Window:
        size = self.global_batch_size
        start, end = first * size, self._window_end(first) * size
        if self.total_samples is not None:
            end = min(end, self.total_samples)
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
        sequence = permute(np.arange(full, dtype=np.int64), max(full, 1), self.order.seed, _BATCH_ORDER + first)
        return _Window(tuple([batches[int(at)] for at in sequence] + last))
