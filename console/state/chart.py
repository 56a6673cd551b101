"""A chart as lines of toned letters: title, curves, marks, axes. Pure; the same chart gives the same lines.

loss                        1.284
2.0┤⠑⠤⡀      ┊
   │   ⠈⠒⠤⣀  ┊
1.0┤       ⠉⠉⠒⠒⠤⠤⠤⠤
   └0──────200✗────400──◆
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from console.state.braille import BRAILLE, Alphabet, drawn
from console.state.scale import Scale, label, linear, logarithmic, within
from console.state.series import Column, Extent, Point, columns_of
from console.state.spans import Line, Span, Tone, between, line

GUTTER = 7
"""Columns left of the curves: six for numbers, one for the axis."""
MOST_UPRIGHTS = 8
"""More marks of one kind than this are only shown on the axis: the curve must stay the loudest."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve."""

    points: Sequence[Point]
    tone: Tone = "curve"
    dotted: bool = False


LOUD: tuple[Tone, ...] = ("bad", "warn")


class Mark(NamedTuple):
    """Something that happened at a place of the horizontal axis."""

    x: float
    kind: str
    letter: str
    tone: Tone
    """Of the letter; a line through the chart is as loud only for what went wrong."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw. Traces that come first lie below."""

    title: str
    shown: Extent
    traces: tuple[Trace, ...] = ()
    marks: tuple[Mark, ...] = ()
    value: str = ""
    """At the right of the title."""
    is_log: bool = False
    is_chosen: bool = False
    cursor: float | None = None
    unit: str = ""
    """Behind the numbers of the horizontal axis."""
    empty: str = "no values yet"


def lines_of(chart: Chart, width: int, height: int, alphabet: Alphabet = BRAILLE) -> list[Line]:
    """The chart in exactly `height` lines of `width` columns; only the title where there is room for no more."""
    title = _title(chart, width)
    cells, rows = width - GUTTER, height - 2
    if rows < 1 or cells < 4:
        return [title, *[()] * (height - 1)][: max(0, height)]
    drawings = [_columns(trace, chart, cells * alphabet.columns) for trace in chart.traces]
    scale = scale_of(drawings, rows, is_log=chart.is_log)
    if scale is None:
        axis = _axis(chart, alphabet, cells)
        return [title, *_nothing(chart, alphabet, width, rows), axis]
    grid = _Grid(cells, rows)
    for place, letter, tone in _uprights(chart, alphabet, cells):
        grid.upright(place, letter, tone)
    for trace, columns in zip(chart.traces, drawings, strict=True):
        letters = drawn(alphabet, columns, scale, cells, rows, dotted=trace.dotted)
        grid.put(letters, trace.tone)
    walls = _walls(scale, rows, alphabet)
    return [
        title,
        *((*wall, *row) for wall, row in zip(walls, grid.lines(), strict=True)),
        _axis(chart, alphabet, cells),
    ]


def scale_of(drawings: Iterable[Sequence[Column | None]], rows: int, *, is_log: bool) -> Scale | None:
    """The vertical axis of what is shown; None where there is nothing."""
    columns = [column for drawing in drawings for column in drawing if column is not None]
    most = max(2, (rows + 1) // 2)
    if is_log:
        above = [value for column in columns for value in (column.low, column.high) if value > 0]
        return logarithmic(min(above), max(above), most) if above else None
    if not columns:
        return None
    return linear(min(column.low for column in columns), max(column.high for column in columns), most)


def _columns(trace: Trace, chart: Chart, dots: int) -> list[Column | None]:
    columns = columns_of(trace.points, chart.shown, dots)
    if not chart.is_log:
        return columns
    return [column if column is not None and column.high > 0 else None for column in columns]


def _title(chart: Chart, width: int) -> Line:
    name: Tone = "accent" if chart.is_chosen else "strong"
    log = Span(" log", "dim") if chart.is_log else ""
    left = line((chart.title, name), log)
    return between(left, line((chart.value, "plain")), width)


def _nothing(chart: Chart, alphabet: Alphabet, width: int, rows: int) -> list[Line]:
    wall = Span(" " * (GUTTER - 1) + alphabet.wall, "dim")
    said = "no value above 0" if chart.is_log and any(trace.points for trace in chart.traces) else chart.empty
    text = said[: max(0, width - GUTTER - 1)].center(width - GUTTER)
    return [(wall, Span(text, "dim")) if row == rows // 2 else (wall,) for row in range(rows)]


def _uprights(chart: Chart, alphabet: Alphabet, cells: int) -> list[tuple[int, str, Tone]]:
    kinds: dict[str, list[Mark]] = {}
    for mark in chart.marks:
        if 0 <= chart.shown.column(mark.x, cells) < cells:
            kinds.setdefault(mark.kind, []).append(mark)
    found: list[tuple[int, str, Tone]] = [
        (chart.shown.column(mark.x, cells), alphabet.upright, mark.tone if mark.tone in LOUD else "dim")
        for marks in kinds.values()
        if len(marks) <= MOST_UPRIGHTS
        for mark in marks
    ]
    if chart.cursor is not None and 0 <= chart.shown.column(chart.cursor, cells) < cells:
        found.append((chart.shown.column(chart.cursor, cells), alphabet.cursor, "accent"))
    return found


def _walls(scale: Scale, rows: int, alphabet: Alphabet) -> list[Line]:
    """The vertical axis: a number in the row that its value lies in."""
    numbers: dict[int, str] = {}
    for tick in scale.ticks:
        row = round((rows * alphabet.rows - 1) * (1 - scale.share(tick))) // alphabet.rows
        numbers.setdefault(row, label(tick))
    return [
        (Span(f"{numbers.get(row, ''):>{GUTTER - 1}}{alphabet.tick if row in numbers else alphabet.wall}", "dim"),)
        for row in range(rows)
    ]


def _axis(chart: Chart, alphabet: Alphabet, cells: int) -> Line:
    """The horizontal axis: numbers with the place that they stand for at their left end, marks over all of it."""
    letters = [alphabet.floor] * cells
    tones: list[Tone] = ["dim"] * cells
    marked = {chart.shown.column(mark.x, cells): mark for mark in chart.marks}
    end = 0
    for tick in within(chart.shown.start, chart.shown.end, max(2, cells // 12)):
        text = f"{label(tick)}{chart.unit}"
        place = chart.shown.column(tick, cells)
        place = min(place + (place in marked), cells - len(text))
        if place >= end and not any(at in marked for at in range(place, place + len(text))):
            letters[place : place + len(text)] = text
            end = place + len(text) + 1
    for place, mark in marked.items():
        if 0 <= place < cells:
            letters[place], tones[place] = mark.letter, mark.tone
    parts: list[Span] = [Span(" " * (GUTTER - 1) + alphabet.corner, "dim")]
    return (*parts, *_runs(list(zip(letters, tones, strict=True))))


class _Grid:
    """Letters with their tones; a louder tone covers one that is less loud, and nothing covers a curve."""

    def __init__(self, cells: int, rows: int) -> None:
        self._cells: list[list[tuple[str, Tone]]] = [[(" ", "plain")] * cells for _ in range(rows)]

    def upright(self, place: int, letter: str, tone: Tone) -> None:
        """A vertical line through everything."""
        for row in self._cells:
            row[place] = (letter, tone)

    def put(self, letters: Sequence[str], tone: Tone) -> None:
        """A curve on top of what is there."""
        for row, text in zip(self._cells, letters, strict=True):
            for place, letter in enumerate(text):
                if letter != " ":
                    row[place] = (letter, tone)

    def lines(self) -> list[Line]:
        """One for each row."""
        return [_runs(row) for row in self._cells]


def _runs(cells: Sequence[tuple[str, Tone]]) -> Line:
    """Neighbours of one tone as one span; spaces join what is before them."""
    spans: list[Span] = []
    for letter, tone in cells:
        if spans and (letter == " " or spans[-1].tone == tone):
            spans[-1] = Span(spans[-1].text + letter, spans[-1].tone)
        else:
            spans.append(Span(letter, tone))
    return tuple(spans)


def nearest(points: Sequence[Point], x: float) -> Point | None:
    """The point nearest to a place of the horizontal axis."""
    return min(points, key=lambda point: abs(point.x - x), default=None) if math.isfinite(x) else None
