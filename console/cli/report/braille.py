"""A chart of letters: each is a cell of two by four dots (Unicode 2800 to 28FF). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from console.cli.report.scale import over, place, ticks
from console.cli.report.series import Chart
from console.state.braille import BRAILLE, Canvas
from console.state.scale import Scale, label

_AXIS_COLUMNS = 8
_LEGEND = {"smooth": "⣀⡠⠔⠊", "raw": "⠢⠔⠢", "points": "◆"}


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
    canvas = Canvas(BRAILLE, columns - _AXIS_COLUMNS, rows)
    diamonds: set[tuple[int, int]] = set()
    steps = over((x for line in lines for x, _ in line.points), margin=0.0)
    values = over(y for line in lines for _, y in line.points)
    for line in lines:
        places = [_dot(canvas, steps, values, point) for point in line.points]
        for at, point in enumerate(places):
            if line.style == "points":
                diamonds.add((point[1] // BRAILLE.rows, point[0] // BRAILLE.columns))
            else:
                _stroke(canvas, places[max(0, at - 1)], point)
    legend = "   ".join(f"{_LEGEND[line.style]} {line.name}" for line in lines)
    drawn = [
        "".join("◆" if (row, column) in diamonds else letter for column, letter in enumerate(letters))
        for row, letters in enumerate(canvas.letters())
    ]
    body = [
        f"{number:>{_AXIS_COLUMNS - 2}} ┤{row.rstrip()}"
        for number, row in zip(_labels(values, rows), drawn, strict=True)
    ]
    return [f"{chart.title}   {legend}", *body, *_axis(chart, steps, columns - _AXIS_COLUMNS)]


def _dot(canvas: Canvas, steps: Scale, values: Scale, point: tuple[float, float]) -> tuple[int, int]:
    return round(place(steps, point[0], 0, canvas.width - 1)), round(place(values, point[1], canvas.height - 1, 0))


def _stroke(canvas: Canvas, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Dots from one to the other, as many as the longer side has."""
    across, down = end[0] - start[0], end[1] - start[1]
    count = max(abs(across), abs(down), 1)
    for step in range(count + 1):
        row = round(start[1] + down * step / count)
        canvas.upright(round(start[0] + across * step / count), row, row)


def _labels(values: Scale, rows: int) -> list[str]:
    """A number beside the row that it lies in, for some of the rows."""
    labels = [""] * rows
    for tick in ticks(values, max(2, rows // 3)):
        labels[round(place(values, tick, rows - 1, 0))] = label(tick)
    return labels


def _axis(chart: Chart, steps: Scale, width: int) -> list[str]:
    """The axis of steps with its crosses, and its numbers."""
    line, numbers = ["─"] * width, [" "] * (width + _AXIS_COLUMNS)
    for mark in chart.marks:
        if mark.is_trouble:
            line[round(place(steps, mark.step, 0, width - 1))] = "✗"
    for tick in _whole(ticks(steps, 6)):
        text = label(tick)
        start = min(round(place(steps, tick, 0, width - 1)), width - len(text))
        numbers[start : start + len(text)] = text
    crosses = ["" if "✗" not in line else f"{' ' * _AXIS_COLUMNS}✗ a worker lost, a step skipped or a rollback"]
    floor = f"{'':{_AXIS_COLUMNS - 1}}└{''.join(line)}"
    return [floor, f"{'':{_AXIS_COLUMNS}}{''.join(numbers).rstrip()}", *(text for text in crosses if text)]


def _whole(ticks: Sequence[float]) -> list[float]:
    return [tick for tick in ticks if tick == int(tick)]
