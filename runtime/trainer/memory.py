"""A device without enough memory: how MLX says so, and what becomes of the micro-batches.

    CUDA    RuntimeError `[malloc] Unable to allocate N bytes.`, or `cudaMallocAsync(...) failed: out of memory`
    Metal   RuntimeError `[malloc] ...` or `[metal::malloc] ...`; a command buffer that fails for lack of memory ends
            the process (its handler throws on a thread of Metal's): that is a death like any other
    CPU     nothing: MLX 0.32 writes through the null pointer that malloc gave it, and the process dies of SIGSEGV

So where a CPU process has a limit on its address space, `Headroom` says no before MLX must. Whatever the kernel kills
because the machine itself is full is a death like any other.
"""

from __future__ import annotations

import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import mlx.core as mx
import numpy as np

from runtime.flow import Batch, Micro

T = TypeVar("T")

FAILURES_AT_ONE_ROW = 3
"""After so many failures in a row with a single row at once, the device is no use to this run."""

_WORDS = ("unable to allocate", "out of memory", "insufficient memory", "[metal::malloc]", "bad_alloc")
_MARGIN = 1.1
_RESERVE_BYTES = 64 << 20
"""Address space that is left to threads, stacks and the interpreter."""


class NoHeadroom(Exception):
    """A micro-batch would not fit below the limit of this process; MLX was not asked."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether MLX (or `Headroom` in its place) says that memory is used up."""
    if isinstance(error, NoHeadroom | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)


def release(error: BaseException) -> None:
    """Free what the failed computation left: arrays in the frames of its traceback, and MLX's cache of buffers.

    Call it on the thread that owns mlx, when nothing else computes there.
    """
    traceback.clear_frames(error.__traceback__)
    error.__traceback__ = None
    mx.clear_cache()


def within_memory(function: Callable[[], T]) -> T | None:
    """What `function` returns; None, and all released, where the device has no room for it. On `release`'s thread."""
    try:
        return function()
    except Exception as error:  # MLX has no class of its own for it; anything else goes on
        if not is_out_of_memory(error):
            raise
        release(error)
    return None


@dataclass
class RowLimit:
    """How many rows of a micro-batch go through the model at once. Pure; it only ever gets smaller."""

    rows: int | None = None
    """None: as many as the feeder puts together."""
    failures_at_one: int = 0
    """In a row."""

    def failed(self, tried: int) -> bool:
        """A micro-batch of `tried` rows did not fit: halve. Returns False when there is nothing left to try."""
        if tried > 1:
            self.rows = tried // 2
            return True
        self.rows = 1
        self.failures_at_one += 1
        return self.failures_at_one < FAILURES_AT_ONE_ROW

    def fitted(self) -> None:
        """A whole batch went through."""
        self.failures_at_one = 0

    def cut(self, batch: Batch) -> Batch:
        """The same rows in the same order, in micro-batches of at most `rows`; accumulation grows accordingly."""
        if self.rows is None or most_rows(batch) <= self.rows:
            return batch
        return replace(batch, micros=tuple(piece for micro in batch.micros for piece in _pieces(micro, self.rows)))


def most_rows(batch: Batch) -> int:
    """Rows of its largest micro-batch."""
    return max((len(micro.shards) for micro in batch.micros), default=0)


def _pieces(micro: Micro, rows: int) -> list[Micro]:
    starts = range(0, len(micro.shards), rows)
    cut = (slice(start, start + rows) for start in starts)
    return [micro.cut(part) for part in cut]


class Headroom:
    """Refuses a batch that would not fit below this process's limit on its address space (RLIMIT_AS), if it has one.

    What a batch needs is foreseen from what earlier ones took: a copy of the gradients, and for each position of the
    largest micro-batch what MLX's own peak says (measured: within 5 % from one row to sixteen).
    """

    def __init__(self, gradient_bytes: int) -> None:
        self._gradient_bytes = gradient_bytes
        self._bytes_per_position = 0.0
        self._highest_bytes = 0

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit to mind, on a device that does not mind it itself."""
        return mx.default_device() == mx.Device(mx.cpu) and _limit() is not None

    @property
    def is_known(self) -> bool:
        """Whether some batch was measured already."""
        return self._bytes_per_position > 0

    def check(self, batch: Batch) -> None:
        """Raise NoHeadroom unless there is room for the batch."""
        limit = _limit()
        if limit is None:
            return
        free = limit - _address_space() + mx.get_cache_memory() - _RESERVE_BYTES
        needed = self._gradient_bytes + _MARGIN * self._bytes_per_position * _positions(batch)
        if needed > free:
            raise NoHeadroom(f"{needed / 1e6:.0f} MB needed and {max(free, 0) / 1e6:.0f} MB left of {limit / 1e6:.0f}")

    def begin(self) -> int:
        """Bytes in use before a batch: give them to `learn`."""
        self._highest_bytes = self.peak_bytes
        mx.reset_peak_memory()
        return int(mx.get_active_memory())

    @property
    def peak_bytes(self) -> int:
        """The most that MLX held at once in this process's life."""
        return max(self._highest_bytes, int(mx.get_peak_memory()))

    def learn(self, before: int, batch: Batch) -> None:
        """A batch went through: what it took is known now."""
        if positions := _positions(batch):
            self._bytes_per_position = max(mx.get_peak_memory() - before - self._gradient_bytes, 1) / positions


def usable_bytes() -> int:
    """What MLX may take of a device's own memory; 0 on a CPU, which shares it with everything else."""
    if mx.default_device() == mx.Device(mx.cpu):
        return 0
    limit = int(mx.get_memory_limit())
    return min(limit, int(mx.device_info().get("max_recommended_working_set_size", limit)))


def half_a_row(batch: Batch) -> Batch:
    """The first half of one row of the largest micro-batch, and nothing of any other shard: if this does not fit,
    nothing will."""
    largest = max(batch.micros, key=lambda micro: np.size(micro.tokens_BT))
    micro = largest.cut(slice(1), slice(largest.tokens_BT.shape[1] // 2 + 1))
    return replace(batch, shards=micro.shards_inside, micros=(micro,))


def _positions(batch: Batch) -> int:
    return max((int(np.size(micro.tokens_BT)) for micro in batch.micros), default=0)


def _limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _address_space() -> int:
    """Bytes of address space in use; RLIMIT_AS limits these. 0 where the system does not say (macOS)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
