"""Sums: what a metric knows of some answers. They are merged by addition, never averaged.

Addition of floats depends on its order unless nothing is rounded. Counts never are; fractions are put on a grid of
2**-32 first, so that the same answers give the same bits however many workers counted them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Sums: TypeAlias = tuple[float, ...]
"""Numbers of one metric, in an order that only the metric knows; an empty tuple is nothing counted yet."""

GRID = 2.0**32


def merge(many: Iterable[Sums]) -> Sums:
    """The sums over all of `many`. Raises ValueError when they are not of one metric (of one length)."""
    total: Sums = ()
    for one in many:
        total = tuple(a + b for a, b in zip(total, one, strict=True)) if total and one else total or one
    return total


def on_grid(fraction: float) -> float:
    """`fraction` (0 .. 1) rounded to a multiple of 2**-32: two million of them add up exactly in float64."""
    return round(fraction * GRID) / GRID
