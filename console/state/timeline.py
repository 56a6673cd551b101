"""The time line of a replay. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from console.state.clock import time_of_day
from console.state.figures import clock
from console.state.spans import Line, Span, joined, line, width_of


def timeline_line(
    begin_seconds: float,
    end_seconds: float,
    at_seconds: float,
    marks: Iterable[float],
    width: int,
    *,
    film: float | None,
) -> Line:
    """From the first fact to the last: where one is, where something happened; `film`: how fast it plays, if so."""
    span = max(1e-9, end_seconds - begin_seconds)
    play = line(("▸ ", "good"), (f"{film:.0f} x", "good")) if film is not None else line(("‖", "dim"))
    left = joined([play, line(time_of_day(at_seconds))], Span("  "))
    right = line((f"{clock(at_seconds - begin_seconds)} of {clock(span)}", "dim"))
    room = max(4, width - width_of(left) - width_of(right) - 6)
    cells = ["─"] * room
    for mark in marks:
        cells[_cell(mark, begin_seconds, span, room)] = "┬"
    here = _cell(at_seconds, begin_seconds, span, room)
    track = line(("".join(cells[:here]), "accent"), ("●", "strong"), ("".join(cells[here + 1 :]), "dim"))
    return (Span(" "), *left, Span("  "), *track, Span("  "), *right)


def _cell(seconds: float, begin_seconds: float, span: float, room: int) -> int:
    return min(room - 1, max(0, round((seconds - begin_seconds) / span * (room - 1))))
