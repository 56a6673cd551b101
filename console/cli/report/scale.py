"""From numbers to places on a chart, and the round numbers that stand at its axes. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A range of numbers, drawn over a range of places."""

    low: float
    high: float

    def at(self, value: float, start: float, end: float) -> float:
        """The place of `value` between `start` (low) and `end` (high); outside of the range at its nearer end."""
        share = (value - self.low) / (self.high - self.low)
        return start + (end - start) * min(1.0, max(0.0, share))

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round numbers inside the range, ascending."""
        wide = (self.high - self.low) / max(1, most)
        power = 10.0 ** math.floor(math.log10(wide))
        step = next(power * factor for factor in _STEPS if power * factor >= wide * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def over(values: Iterable[float], *, margin: float = 0.04) -> Scale:
    """The range of these numbers with a little room on both sides; from 0 to 1 where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Scale(0.0, 1.0)
    low, high = min(finite), max(finite)
    room = (high - low) * margin or max(abs(high) * margin, 1e-12)
    return Scale(max(0.0, low - room) if low >= 0 else low - room, high + room)


def short(value: float) -> str:
    """The number as it stands at an axis: `0`, `2.5`, `12k`, `3e-04`."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    return (
        f"{value:.0e}" if abs(value) < 1e-3 and f"{value:.0e}" == f"{value:.1e}".replace(".0e", "e") else f"{value:.3g}"
    )
