"""Several sources by weight: how often an epoch takes from each, and which samples stand where.

An epoch has as many places as the sources have samples; weights say how they are shared out. A source's places are
filled by its own stream, which is its own epochs of permuted samples one after the other and goes on where the last
epoch of the mixture left it. So nothing is drawn at random: after E epochs with m places for a source of n samples,
each of its samples was taken E * m / n times, rounded down or up. A pure function of (seed, sizes, weights, position).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from runtime.data.order import SampleOrder, permute
from runtime.errors import DataError

_SOURCE_SEEDS = 1 << 60  # a stream of its own, far from any epoch's


@dataclass(frozen=True)
class MixedOrder:
    """Which sample stands at which position of the run's sample stream. Samples of the sources follow each other."""

    seed: int
    sizes: tuple[int, ...]
    """Samples of each source, at least 1."""
    places: tuple[int, ...]
    """Places of each source in an epoch, at least 1; their sum is the epoch."""
    shuffle: bool = True
    """False: each source in file order, evenly spread between the others."""

    @property
    def count(self) -> int:
        """Places in an epoch."""
        return sum(self.places)

    def ids(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample numbers at `positions` (each >= 0)."""
        epochs, within = np.divmod(np.asarray(positions, np.int64), self.count)
        slots = permute(within, self.count, self.seed, epochs) if self.shuffle else self._spread[within]
        sources = np.searchsorted(self._place_ends, slots, side="right")
        result = np.empty(slots.shape, np.int64)
        for source, (size, places) in enumerate(zip(self.sizes, self.places, strict=True)):
            here = sources == source
            ordinal = epochs[here] * places + slots[here] - (self._place_ends[source] - places)
            inner = SampleOrder(self._seed_of(source), size, self.shuffle)
            result[here] = self._size_starts[source] + inner.ids(ordinal)
        return result

    @cached_property
    def _place_ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.places, dtype=np.int64)

    @cached_property
    def _size_starts(self) -> NDArray[np.int64]:
        return np.concatenate(([0], np.cumsum(self.sizes[:-1], dtype=np.int64)))

    @cached_property
    def _spread(self) -> NDArray[np.int64]:
        """Slot at each place of an epoch in file order: the k-th of m places of a source stands at (k + 1/2) / m."""
        times = np.concatenate([(np.arange(places) + 0.5) / places for places in self.places])
        return np.argsort(times, kind="stable").astype(np.int64)

    def _seed_of(self, source: int) -> int:
        return int(permute(np.array([source]), 1 << 30, self.seed, _SOURCE_SEEDS)[0]) ^ self.seed


def shares(sizes: Sequence[int], weights: Sequence[float]) -> tuple[int, ...]:
    """Places of each source in an epoch of sum(sizes): by weight, by largest remainder, at least one each."""
    total = sum(sizes)
    exact = [total * weight / sum(weights) for weight in weights]
    found = [int(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda source: (found[source] - exact[source], source))
    for source in by_remainder[: total - sum(found)]:
        found[source] += 1
    for source, places in enumerate(found):
        if not places:
            found[source] += 1
            found[found.index(max(found))] -= 1
    return tuple(found)


def mixed_order(
    seed: int, sizes: Sequence[int], weights: Sequence[float], names: Sequence[str], *, shuffle: bool
) -> MixedOrder:
    """The order of sources with these sizes and weights. Raises DataError, by name, for a source without samples."""
    for name, size in zip(names, sizes, strict=True):
        if not size:
            raise DataError(f"data.source: no sample of {name} is left, so it cannot have its share of the mixture")
    return MixedOrder(seed, tuple(sizes), shares(sizes, weights), shuffle)
