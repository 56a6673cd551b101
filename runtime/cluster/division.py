"""Who owns how many shards, and when that changes: workers are measured, and the division follows their speeds. Pure.

A worker's speed is the mean of the middle half of its last undisturbed steps: a compilation, a page fault or a stolen
core is one step of them and moves nothing. When most of its last few steps are of another speed altogether, what was
measured before is forgotten. A step in which somebody died says little of anybody, and is left out.

The division stays as it is until another one is better by several per cent, and by more than chance would explain.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles

from runtime.cluster.placement import counts_of, deal, finish_time
from runtime.events import ShardsMoved
from runtime.ids import Rank, Step

WINDOW = 32
"""Steps that a speed is the mean of."""
RECENT = 5
"""When the median of so many steps differs from all by more than `CHANGE`, the device has changed."""
CHANGE = 0.2
FEWEST = 4
"""Steps after which a speed is known."""
WARM_UP = 1
"""First steps of a worker that count for nothing: they compile."""
GAIN = 0.06
"""The division changes when the step is expected to become shorter by more than this share ..."""
DOUBTS = 4.5
"""... and by more than so many standard errors of the speeds that it is expected from."""
_QUARTILES_TO_SIGMA = 1.35


@dataclass
class Pace:
    """How fast one worker computes."""

    steps: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    seen: int = 0

    def note(self, positions: int, seconds: float) -> None:
        """The worker put `positions` through its model in `seconds`, in one undisturbed step."""
        if positions <= 0 or seconds <= 0:
            return
        self.seen += 1
        if self.seen <= WARM_UP:
            return
        self.steps.append(positions / seconds)
        recent = list(self.steps)[-RECENT:]
        if len(recent) == RECENT and abs(median(recent) / median(self.steps) - 1) > CHANGE:
            self.steps = deque(recent[-FEWEST:], maxlen=WINDOW)

    @property
    def speed(self) -> float | None:
        """Positions per second; None while it is not known."""
        if len(self.steps) < FEWEST:
            return None
        ordered, aside = sorted(self.steps), len(self.steps) // 4
        return fmean(ordered[aside : len(ordered) - aside])

    @property
    def doubt(self) -> float:
        """Standard error of `speed`, as a share of it; 0 while it is not known."""
        if self.speed is None:
            return 0.0
        low, _, high = quantiles(self.steps, n=4, method="inclusive")
        return (high - low) / _QUARTILES_TO_SIGMA / math.sqrt(len(self.steps)) / self.speed


def speeds_of(paces: Mapping[Rank, Pace]) -> dict[Rank, float]:
    """A speed for everybody: whoever was not measured yet counts as the median of those who were, or as 1."""
    known = {rank: pace.speed for rank, pace in paces.items()}
    usual = median([speed for speed in known.values() if speed is not None] or [1.0])
    return {rank: usual if speed is None else speed for rank, speed in known.items()}


@dataclass
class Division:
    """The owners in force."""

    owners: tuple[Rank, ...] = ()
    _told: Mapping[Rank, int] | None = None
    """The unequal division that the journal knows of."""

    def follow(self, paces: Mapping[Rank, Pace], shards: int, step: Step) -> list[ShardsMoved]:
        """Divide `shards` for `step`: as before, equally after a change of members, or by speed if that pays.

        Returns the fact to be published when the division is not what the journal thinks that it is."""
        ranks, speeds = sorted(paces), speeds_of(paces)
        before, equal, best = self.owners, deal(ranks, shards), deal(ranks, shards, speeds)
        stays = len(before) == shards and set(before) == set(equal)
        standing = before if stays else equal
        gain = max(GAIN, DOUBTS * max(pace.doubt for pace in paces.values()))
        pays = finish_time(best, speeds) < (1 - gain) * finish_time(standing, speeds)
        self.owners = best if pays else standing
        counts = counts_of(self.owners)
        unequal = counts if counts != counts_of(equal) else None
        if unequal == self._told:
            return []
        self._told = unequal
        known = tuple((rank, speeds[rank]) for rank in ranks)
        return [ShardsMoved(step, tuple(counts_of(before).items()), tuple(counts.items()), known)]
