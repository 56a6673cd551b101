"""A curve in one line of eighth blocks. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest `width` values' worth of the whole curve, squeezed evenly (means of neighbours); `" "` where none is
    finite. The lowest is the lowest block, the highest the highest; a flat curve stands in the middle."""
    if not values or width < 1:
        return ""
    cells = _squeezed(values, min(width, len(values)))
    finite = [value for value in cells if math.isfinite(value)]
    if not finite:
        return " " * len(cells)
    low, high = min(finite), max(finite)
    return "".join(_block(value, low, high) for value in cells)


def _squeezed(values: Sequence[float], cells: int) -> list[float]:
    edges = [len(values) * cell // cells for cell in range(cells + 1)]
    parts = (values[first:last] for first, last in itertools.pairwise(edges))
    return [sum(part) / len(part) for part in parts]


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    if high <= low:
        return _BLOCKS[3]
    return _BLOCKS[min(7, int((value - low) / (high - low) * 8))]
