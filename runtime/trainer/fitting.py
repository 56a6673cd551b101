"""Gradients in pieces that fit into the device's memory: caught, cache cleared, micro-batch halved, tried again.

Same rows, same global batch; only how many of them go through the model at once is less, and how often is more. The
smaller size is kept as long as the process lives. What `deterministic` promises then: the bits are those of a run whose
train.micro_batch_size was the smaller one from here on (where it divides the rows), not those of the larger one,
because a product over fewer rows is summed in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.errors import WorkerUnfit
from runtime.events import MicroBatchHalved
from runtime.flow import Batch
from runtime.ids import Rank
from runtime.trainer.device_thread import DeviceThread
from runtime.trainer.engine import Local
from runtime.trainer.memory import (
    FAILURES_AT_ONE_ROW,
    Headroom,
    RowLimit,
    half_a_row,
    is_out_of_memory,
    most_rows,
    release,
    within_memory,
)
from runtime.trainer.replica import Replica


@dataclass(frozen=True)
class _Misfit:
    """A batch that did not fit, with this many rows at once."""

    rows: int
    reason: str


class Fitting:
    """Computes batches on the device thread, however little fits at once."""

    def __init__(
        self, thread: DeviceThread, replica: Replica, rank: Rank, say: Callable[[MicroBatchHalved], None]
    ) -> None:
        self._thread, self._replica, self._rank, self._say = thread, replica, rank, say
        self._limit = RowLimit()
        self._headroom = Headroom(replica.update.layout.size * 4)

    @property
    def peak_bytes(self) -> int:
        """The most that MLX held at once; ask on the device thread."""
        return self._headroom.peak_bytes

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        """Compute the batch's shards and add them to `local`; says each halving.

        Raises WorkerUnfit when not even a single row fits, three times in a row.
        """
        while (misfit := await self._thread.run(self._try, local, batch)) is not None:
            go_on = self._limit.failed(misfit.rows)
            rows = self._limit.rows or 1
            self._say(MicroBatchHalved(self._rank, local.step, misfit.rows, rows, misfit.reason))
            if not go_on:
                raise WorkerUnfit(
                    f"worker {self._rank} ran out of memory {FAILURES_AT_ONE_ROW} times with a single row at once "
                    f"({misfit.reason}); lower data.max_length, or take a smaller model or a larger device"
                )

    def begin_next(self, local: Local, batch: Batch) -> Local | None:
        """Begin the step after `local`'s, if all of this batch fits at once. On the device thread."""
        if not self._fits(batch):
            return None
        return within_memory(lambda: self._replica.begin_next(local, batch))

    def _fits(self, batch: Batch) -> bool:
        """Whether nothing forbids to compute all of it at once, beside another."""
        return not self._headroom.is_limited and self._limit.cut(batch) is batch

    def _try(self, local: Local, batch: Batch) -> _Misfit | None:
        """On the device thread: the whole batch, or (returning why) nothing of it."""
        cut = self._limit.cut(batch)
        if local.following is not None and not self._fits(local.following):
            local.following = None
        try:
            self._compute(local, cut)
        except Exception as error:  # MLX has no class of its own for it; anything else goes on
            if not is_out_of_memory(error):
                raise
            misfit = _Misfit(most_rows(cut), str(error))
            release(error)
        else:
            self._limit.fitted()
            return None
        return misfit

    def _compute(self, local: Local, batch: Batch) -> None:
        if not self._headroom.is_limited:
            self._replica.add_gradients(local, batch)
            return
        if not self._headroom.is_known:  # the first batch of a process that may not grow: a bit of it, for nothing
            self._measured(Local(local.step), half_a_row(batch))
        self._headroom.check(batch)
        self._measured(local, batch)

    def _measured(self, local: Local, batch: Batch) -> None:
        before = self._headroom.begin()
        self._replica.add_gradients(local, batch)
        self._headroom.learn(before, batch)
