"""The range of a report's chart, and places on it: axes are the console's own (`console.state.scale`). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from console.state.scale import Scale, within


def over(values: Iterable[float], *, margin: float = 0.04) -> Scale:
    """The range of these numbers with a little room on both sides; from 0 to 1 where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Scale(0.0, 1.0, ())
    low, high = min(finite), max(finite)
    room = (high - low) * margin or max(abs(high) * margin, 1e-12)
    return Scale(max(0.0, low - room) if low >= 0 else low - room, high + room, ())


def place(scale: Scale, value: float, start: float, end: float) -> float:
    """Where `value` lies between `start` (low) and `end` (high); outside of the range at its nearer end."""
    return start + (end - start) * scale.share(value)


def ticks(scale: Scale, most: int) -> tuple[float, ...]:
    """At most about `most` round numbers inside the range, ascending."""
    return within(scale.low, scale.high, most)
