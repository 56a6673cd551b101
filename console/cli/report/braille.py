"""A chart of letters: each is a cell of two by four dots (Unicode 2800 to 28FF). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.cli.report.scale import Scale, over, short
from console.cli.report.series import Chart

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of the dot in [row][column] of a cell."""
_EMPTY = 0x2800
_AXIS_COLUMNS = 8
_LEGEND = {"smooth": "⣀⡠⠔⠊", "raw": "⠢⠔⠢", "points": "◆"}


class _Canvas:
    """Dots, two to a column and four to a row."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = 2 * columns, 4 * rows
        self._cells = [[0] * columns for _ in range(rows)]
        self._letters: dict[tuple[int, int], str] = {}

    def dot(self, x: int, y: int) -> None:
        """Set the dot in column x from the left and row y from the top."""
        self._cells[y // 4][x // 2] |= _BITS[y % 4][x % 2]

    def letter(self, x: int, y: int, letter: str) -> None:
        """A letter in place of the whole cell that holds this dot."""
        self._letters[y // 4, x // 2] = letter

    def line(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Dots from one to the other, as many as the longer side has."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for step in range(steps + 1):
            self.dot(
                round(start[0] + (end[0] - start[0]) * step / steps),
                round(start[1] + (end[1] - start[1]) * step / steps),
            )

    def rows(self) -> list[str]:
        """The text."""
        return [
            "".join(self._letters.get((row, column), chr(_EMPTY | bits)) for column, bits in enumerate(cells))
            for row, cells in enumerate(self._cells)
        ]


def draw(chart: Chart, *, columns: int = 80, rows: int = 14) -> list[str]:
    """The chart in lines of at most `columns` letters: title and names, `rows` of dots with an axis, and the steps.

    The raw curve is left out where a smoothed one is there: dots cannot be told apart. Marks of trouble are crosses on
    the axis.
    """
    lines = [line for line in chart.lines if line.points]
    if any(line.style == "smooth" for line in lines):
        lines = [line for line in lines if line.style != "raw"]
    if not lines:
        return []
    canvas = _Canvas(columns - _AXIS_COLUMNS, rows)
    steps = over((x for line in lines for x, _ in line.points), margin=0.0)
    values = over(y for line in lines for _, y in line.points)
    for line in lines:
        places = [_place(canvas, steps, values, point) for point in line.points]
        for at, place in enumerate(places):
            if line.style == "points":
                canvas.letter(*place, "◆")
            else:
                canvas.line(places[max(0, at - 1)], place)
    legend = "   ".join(f"{_LEGEND[line.style]} {line.name}" for line in lines)
    body = [
        f"{label:>{_AXIS_COLUMNS - 2}} ┤{row.rstrip(chr(_EMPTY))}"
        for label, row in zip(_labels(values, rows), canvas.rows(), strict=True)
    ]
    return [f"{chart.title}   {legend}", *body, *_axis(chart, steps, columns - _AXIS_COLUMNS)]


def _place(canvas: _Canvas, steps: Scale, values: Scale, point: tuple[float, float]) -> tuple[int, int]:
    return round(steps.at(point[0], 0, canvas.width - 1)), round(values.at(point[1], canvas.height - 1, 0))


def _labels(values: Scale, rows: int) -> list[str]:
    """A number beside the row that it lies in, for some of the rows."""
    labels = [""] * rows
    for tick in values.ticks(max(2, rows // 3)):
        labels[round(values.at(tick, rows - 1, 0))] = short(tick)
    return labels


def _axis(chart: Chart, steps: Scale, width: int) -> list[str]:
    """The axis of steps with its crosses, and its numbers."""
    line, numbers = ["─"] * width, [" "] * (width + _AXIS_COLUMNS)
    for mark in chart.marks:
        if mark.is_trouble:
            line[round(steps.at(mark.step, 0, width - 1))] = "✗"
    for tick in _whole(steps.ticks(6)):
        text = short(tick)
        start = min(round(steps.at(tick, 0, width - 1)), width - len(text))
        numbers[start : start + len(text)] = text
    crosses = ["" if "✗" not in line else f"{' ' * _AXIS_COLUMNS}✗ a worker lost, a step skipped or a rollback"]
    label = f"{'':{_AXIS_COLUMNS - 1}}└{''.join(line)}"
    return [label, f"{'':{_AXIS_COLUMNS}}{''.join(numbers).rstrip()}", *(text for text in crosses if text)]


def _whole(ticks: Sequence[float]) -> list[float]:
    return [tick for tick in ticks if tick == int(tick)]
