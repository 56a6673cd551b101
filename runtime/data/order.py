"""The order of samples: a stream of permuted epochs, in constant memory, addressed by position.

Position p of the stream lies in epoch p // n; its sample is a keyed permutation of p % n. The permutation is a Feistel
network over the next power of four, walked until it lands below n (cycle walking), so that any position costs a few
integer operations and nothing is stored. Integer arithmetic only: every machine and every library version agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 8


class Order(Protocol):
    """Which sample stands at which position of a run's stream; all of it follows from the fields, nothing is stored."""

    @property
    def seed(self) -> int:
        """run.seed."""

    @property
    def count(self) -> int:
        """Positions in an epoch, at least 1."""

    def ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample numbers at `positions` (each >= 0)."""


@dataclass(frozen=True)
class SampleOrder:
    """Which sample stands at which position of the run's sample stream."""

    seed: int
    count: int
    """Samples in an epoch, at least 1."""
    shuffle: bool = True
    """False: every epoch in file order."""

    def ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample numbers at `positions` (each >= 0). Over one epoch's positions, each sample exactly once."""
        epochs, within = np.divmod(np.asarray(positions, np.int64), self.count)
        return permute(within, self.count, self.seed, epochs) if self.shuffle else within


ENDLESS = 1 << 62
"""Positions of a stream whose end nobody knows."""


@dataclass(frozen=True)
class WindowedOrder:
    """The order of a stream that can only be read forwards: samples change places within windows of it."""

    seed: int
    window: int
    """Samples, at least 1: what has to be in memory at once."""
    shuffle: bool = True

    @property
    def count(self) -> int:
        """No epoch ends."""
        return ENDLESS

    def ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample numbers at `positions` (each >= 0): those of a window are the positions of the same window."""
        windows, within = np.divmod(np.asarray(positions, np.int64), self.window)
        if not self.shuffle:
            return np.asarray(positions, np.int64)
        return windows * self.window + permute(within, self.window, self.seed, windows)


def permute(
    indices: NDArray[np.int64], count: int, seed: int, stream: NDArray[np.int64] | int = 0
) -> NDArray[np.int64]:
    """Images of `indices` under the permutation of range(count) that (seed, stream) names.

    A bijection for each (seed, stream); `stream` may differ per index.
    Raises ValueError for an index outside range(count).
    """
    values = np.asarray(indices, np.int64)
    if values.size and (np.min(values) < 0 or np.max(values) >= count):
        raise ValueError(f"indices must lie in 0 .. {count - 1}")
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    keys = _mix(
        np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)
        ^ _mix(np.broadcast_to(np.asarray(stream), values.shape).astype(np.uint64))
    )
    result = values.astype(np.uint64)
    outside = np.ones(values.shape, bool)
    while outside.any():
        result[outside] = _feistel(result[outside], keys[outside], half)
        outside = result >= np.uint64(count)
    return result.astype(np.int64)


def _feistel(values: NDArray[np.uint64], keys: NDArray[np.uint64], half: np.uint64) -> NDArray[np.uint64]:
    """One pass of the network over 2 * half bits."""
    low = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & low
    for number in range(_ROUNDS):
        left, right = right, left ^ (_mix(right ^ _mix(keys + np.uint64(number))) & low)
    return (left << half) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        mixed = np.asarray(values, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)
