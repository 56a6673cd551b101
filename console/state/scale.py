"""Axes: round numbers at stable places. Pure.

The same data always get the same axis, and more data of the same size do not change it: its ends are round numbers too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_FACTORS = (1.0, 2.0, 5.0, 10.0)
_TINY = 1e-9
_NOTHING = 1e-290
"""Below it a number has no power of ten to speak of."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers from `low` to `high`, drawn from 0 to 1."""

    low: float
    high: float
    ticks: tuple[float, ...]
    """Ascending; within the range."""
    is_log: bool = False

    def share(self, value: float) -> float:
        """The place of a value between 0 (`low`) and 1 (`high`); outside of the range the nearer end."""
        low, high = self.low, self.high
        if self.is_log:
            value, low, high = math.log10(max(value, self.low)), math.log10(low), math.log10(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear(low: float, high: float, most: int) -> Scale:
    """About `most` ticks, at least one; both ends are the nearest quarters of the distance between two ticks."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        low, high = 0.0, 1.0
    size = max(abs(low), abs(high))
    if high - low <= max(_TINY * size, _NOTHING):
        room = size * 0.1 if size > _NOTHING else 1.0
        low, high = (low - room if low else 0.0), high + room
    step = _step((high - low) / max(1, most))
    grain = step / 4
    start, end = math.floor(low / grain + _TINY) * grain, math.ceil(high / grain - _TINY) * grain
    return Scale(_round(start, step), _round(end, step), within(start, end, most))


def logarithmic(low: float, high: float, most: int) -> Scale:
    """The same with powers of ten, or 1, 2, 5 of them where there is less than two; `low` must be above 0."""
    first, last = math.floor(math.log10(low) + _TINY), math.ceil(math.log10(high) - _TINY)
    if last <= first:
        last = first + 1
    if last - first <= 1:
        fine = [_round(factor * 10.0**first, 10.0**first) for factor in (1, 2, 5, 10)]
        at_most = max(value for value in fine if value <= low * (1 + _TINY))
        at_least = min(value for value in fine if value >= high * (1 - _TINY))
        if at_most == at_least:
            at_least = fine[min(len(fine) - 1, fine.index(at_most) + 1)]
            at_most = fine[fine.index(at_least) - 1]
        ticks = tuple(value for value in fine if at_most <= value <= at_least)
        return Scale(ticks[0], ticks[-1], ticks, is_log=True)
    stride = math.ceil((last - first) / max(1, most - 1))
    ticks = tuple(10.0**power for power in range(first, last + 1, stride))
    return Scale(10.0**first, 10.0**last, ticks, is_log=True)


def within(low: float, high: float, most: int) -> tuple[float, ...]:
    """Round numbers between both ends, at most about `most`: the ticks of an axis whose ends are given."""
    step = _step((high - low) / max(1, most))
    first, last = math.ceil(low / step - _TINY), math.floor(high / step + _TINY)
    return tuple(_round(number * step, step) for number in range(first, last + 1))


def label(value: float) -> str:
    """A number in at most six letters: `0`, `2.5`, `12k`, `3.4M`, `5e-4`."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e15:
        return _exponent(value)
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.3g}{letter}"
    return _exponent(value) if size < 1e-3 else f"{value:.4g}"


def _exponent(value: float) -> str:
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _step(wide: float) -> float:
    power = 10.0 ** math.floor(math.log10(wide))
    return next(power * factor for factor in _FACTORS if power * factor >= wide * (1 - _TINY))


def _round(value: float, step: float) -> float:
    return round(value, max(0, 3 - math.floor(math.log10(step))))
