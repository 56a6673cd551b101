"""A metric over all steps in bounded memory: buckets of 1, 2, 4, ... steps, aligned to step 0.

Buckets keep first, last, minimum, maximum and sum, so that no spike is lost, and a curve never jumps when it is
redrawn: the same steps always fall into the same bucket. When there are too many, neighbours merge: the width doubles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from runtime.events.chain import Chain

MOST_BUCKETS = 2048


class Bucket(NamedTuple):
    """The values of `width` neighbouring steps. A named tuple because one is made for each metric of each step."""

    step: int
    """The newest step in it."""
    first: float
    last: float
    minimum: float
    maximum: float
    total: float
    values: int
    """How many steps had a finite value."""

    @property
    def mean(self) -> float:
        """The mean of its values."""
        return self.total / self.values


@dataclass(frozen=True, slots=True)
class Curve:
    """An immutable curve; bucket k holds the steps from k * width to (k + 1) * width - 1."""

    width: int = 1
    done: Chain[Bucket] = Chain()
    newest: Bucket | None = None
    """The bucket that still fills."""

    def add(self, step: int, value: float) -> Curve:
        """The curve with one more value. Values that are not finite leave no trace: a chart cannot draw them.

        A step older than the newest one joins the newest bucket; where steps are done again, call `cut` first.
        """
        if not math.isfinite(value):
            return self
        newest, width = self.newest, self.width
        if newest is None:
            return Curve(width, self.done, Bucket(step, value, value, value, value, value, 1))
        if step // width <= newest.step // width:
            _, first, _, minimum, maximum, total, values = newest
            merged = Bucket(
                max(step, newest.step),
                first,
                value,
                min(value, minimum),
                max(value, maximum),
                total + value,
                values + 1,
            )
            return Curve(width, self.done, merged)
        grown = Curve(width, self.done.append(newest), Bucket(step, value, value, value, value, value, 1))
        return grown.coarser() if len(grown) > MOST_BUCKETS else grown

    def cut(self, step: int) -> Curve:
        """The curve without the buckets that lie after `step` as a whole: those steps will be done again."""
        after = step // self.width
        if self.newest is None or self.newest.step // self.width <= after:
            return self
        return _curve(self.width, [bucket for bucket in self.done if bucket.step // self.width <= after])

    def coarser(self) -> Curve:
        """The same curve with buckets of twice the width."""
        return _curve(self.width * 2, list(neighbours_merged(self, self.width * 2)))

    def __iter__(self) -> Iterator[Bucket]:
        yield from self.done
        if self.newest is not None:
            yield self.newest

    def __len__(self) -> int:
        return len(self.done) + (self.newest is not None)


def _curve(width: int, buckets: list[Bucket]) -> Curve:
    return Curve(width, Chain.of(buckets[:-1]), buckets[-1] if buckets else None)


def _merged(old: Bucket, new: Bucket) -> Bucket:
    return Bucket(
        new.step,
        old.first,
        new.last,
        min(old.minimum, new.minimum),
        max(old.maximum, new.maximum),
        old.total + new.total,
        old.values + new.values,
    )


def neighbours_merged(buckets: Iterable[Bucket], width: int) -> Iterator[Bucket]:
    """The buckets, oldest first, with neighbours of the same bucket of `width` steps merged."""
    waiting: Bucket | None = None
    for bucket in buckets:
        if waiting is not None and waiting.step // width == bucket.step // width:
            waiting = _merged(waiting, bucket)
            continue
        if waiting is not None:
            yield waiting
        waiting = bucket
    if waiting is not None:
        yield waiting
