"""From a curve's buckets to one column of dots after the other. Pure.

Every value belongs to the column that its place gives it, and a place never depends on what comes later, until the axis
doubles: so a curve does not jump while it grows, and no spike is lost in a column.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runtime.events.curve import Bucket

DECAYS = (0.0, 0.6, 0.9, 0.99)
"""Of a smoothed curve; 0: not smoothed."""


class Point(NamedTuple):
    """Neighbouring values of a metric, at one place."""

    x: float
    low: float
    high: float
    mean: float
    last: float
    values: int = 1


class Column(NamedTuple):
    """What one column of dots shows."""

    low: float
    high: float
    first: float
    last: float


class Extent(NamedTuple):
    """The part of the horizontal axis that is shown."""

    start: float
    end: float

    def column(self, x: float, columns: int) -> int:
        """The column from 0 that `x` belongs to; below 0 or too high where it is not shown."""
        return math.floor((x - self.start) * columns / (self.end - self.start) + 1e-9)


class Track(NamedTuple):
    """What a step means on another axis: how many tokens, or seconds, there were after it."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def at(self, step: float) -> float:
        """Between two known steps in proportion; outside of them the nearer one's."""
        if not self.steps:
            return step
        above = bisect_left(self.steps, step)
        if above == 0:
            return self.values[0]
        if above == len(self.steps):
            return self.values[-1]
        low, high = self.steps[above - 1], self.steps[above]
        share = (step - low) / (high - low)
        return self.values[above - 1] + share * (self.values[above] - self.values[above - 1])

    def step_of(self, value: float) -> int:
        """The step that was reached at `value`."""
        if not self.steps:
            return math.floor(value)
        return self.steps[min(bisect_left(self.values, value), len(self.steps) - 1)]


BY_STEP = Track((), ())


def track_of(buckets: Iterable[Bucket], *, origin: float = 0.0) -> Track:
    """The axis that a curve of ever growing values is; `origin` is its 0."""
    steps: list[int] = []
    values: list[float] = []
    for bucket in buckets:
        steps.append(bucket.step)
        values.append(max(bucket.maximum - origin, values[-1] if values else -math.inf))
    return Track(tuple(steps), tuple(values))


def points_of(buckets: Iterable[Bucket], width: int, track: Track = BY_STEP) -> list[Point]:
    """The curve's points by the axis; a bucket of several steps stands where its first step is."""
    found = []
    for bucket in buckets:
        start = bucket.step // width * width if width > 1 else bucket.step
        low, high, mean = bucket.minimum, bucket.maximum, bucket.total / bucket.values
        found.append(Point(track.at(start), low, high, mean, bucket.last, bucket.values))
    return found


def smoothed(points: Sequence[Point], decay: float) -> list[Point]:
    """An exponential moving average without the bias of its beginning: sum d^i v / sum d^i, as TensorBoard draws it.

    It is taken before columns are made, so it does not depend on the size of the screen. Several values of one point
    count as that many values of their mean.
    """
    found = []
    weighted = weight = 0.0
    for point in points:
        kept = decay**point.values
        weighted, weight = kept * weighted + (1 - kept) * point.mean, kept * weight + (1 - kept)
        value = weighted / weight
        found.append(Point(point.x, value, value, value, value, point.values))
    return found


def extent(newest: float, columns: int, *, planned: float = 0.0) -> Extent:
    """From 0 to the first power of two (times the number of columns) that holds `newest`, or to the planned end.

    A column is 1, 2, 4, ... wide, or a half, a quarter, ... of a step; the axis changes only when it doubles.
    """
    wide = 1.0
    while wide * columns < newest:
        wide *= 2
    while wide * columns >= 2 * max(newest, 1.0):
        wide /= 2
    end = wide * columns
    return Extent(0.0, planned if newest <= planned < end else end)


def zoomed(whole: Extent, columns: int, *, halvings: int, centre: float) -> Extent:
    """A half, a quarter, ... of the extent around `centre`; its columns begin where those of the whole would."""
    if halvings <= 0:
        return whole
    wide = (whole.end - whole.start) / 2**halvings
    grain = wide / columns
    start = min(max(centre - wide / 2, whole.start), whole.end - wide)
    start = whole.start + math.floor((start - whole.start) / grain + 1e-9) * grain
    return Extent(start, start + wide)


def columns_of(points: Iterable[Point], shown: Extent, columns: int) -> list[Column | None]:
    """Lowest and highest value of every column; None where there is none. The end of the axis is in the last column."""
    found: list[Column | None] = [None] * columns
    for point in points:
        place = shown.column(point.x, columns)
        if place == columns and point.x <= shown.end:
            place -= 1
        if not 0 <= place < columns:
            continue
        old = found[place]
        found[place] = (
            Column(point.low, point.high, point.mean, point.last)
            if old is None
            else Column(min(old.low, point.low), max(old.high, point.high), old.first, point.last)
        )
    return found
