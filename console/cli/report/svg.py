"""A chart as SVG: thin raw curve, bold smoothed one, points of evaluations, marks of what happened. Pure.

Everything is drawn through classes, so that a page may choose other colours for a dark room; `STYLE` holds the ones
for paper, and is part of an image that stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from console.cli.report.scale import over, place, ticks
from console.cli.report.series import Chart, Event, Line
from console.state.scale import Scale, label

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 760, 52, 14, 40, 26
_LETTER_WIDTH, _TITLE_LETTER_WIDTH, _LEGEND_LINE = 6.2, 7.8, 16
_MOST_POINTS = 600
STYLE = """
.ground{fill:#fff}.grid{stroke:#eceef1}.axis{stroke:#c9ced6}
text{font:11px ui-sans-serif,system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#69707c}
.title{font-size:13px;font-weight:600;fill:#1b1f26}
.raw,.smooth{fill:none;stroke-linejoin:round}
.raw{stroke:#b9c8ea;stroke-width:1}.smooth{stroke:#2456c4;stroke-width:2}
.c0{stroke:#d2600a}.c1{stroke:#0b8043}.c2{stroke:#7b3fc4}.c3{stroke:#b0186d}.c4{stroke:#00798c}.c5{stroke:#8a6d00}
.points{fill:none;stroke-width:1.2;stroke-opacity:.45;stroke-dasharray:4 3}.dot{stroke:none}
.dot.c0{fill:#d2600a}.dot.c1{fill:#0b8043}.dot.c2{fill:#7b3fc4}.dot.c3{fill:#b0186d}.dot.c4{fill:#00798c}
.dot.c5{fill:#8a6d00}
.trouble{stroke:#c62828;stroke-width:1;stroke-dasharray:3 3}.troubled{fill:#c62828}
.saved{fill:#8b93a0}.resumed{stroke:#7b3fc4;stroke-width:1;stroke-dasharray:1 3}
"""
_HEAD = ".head{font-size:20px;font-weight:600;fill:#1b1f26}"
_COLOURS = 6


def draw(chart: Chart, *, height: int = 250, width: int = WIDTH) -> str:
    """One <svg> element of this size, without a style of its own."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(chart.title, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
        f"{inside(chart, height=height, width=width)}</svg>"
    )


def inside(chart: Chart, *, height: int, width: int) -> str:
    """The chart's elements, from (0, 0)."""
    steps = over((x for line in chart.lines for x, _ in line.points), margin=0.0)
    values = over(_visible(chart.lines) + [0.0] * chart.from_zero)
    floor = height - BOTTOM
    legend = _legend(chart, width)
    top = TOP + _LEGEND_LINE * max((line for _, line, _, _ in legend), default=0)
    return "".join(
        [
            f'<rect class="ground" width="{width}" height="{height}"/>',
            f'<text class="title" x="{LEFT}" y="17">{escape(chart.title)}</text>',
            *(_entry(*placed) for placed in legend),
            *_grid(values, floor, width, top),
            *_steps(steps, floor, width),
            *(_mark(mark, steps, floor, width, top) for mark in chart.marks),
            *_lines(chart.lines, steps, values, floor, width, top),
        ]
    )


def _visible(lines: Sequence[Line]) -> list[float]:
    """The values that decide the height: of raw curves all but the hundredth part on top, or a spike hides the rest."""
    found: list[float] = []
    for line in lines:
        values = sorted(value for _, value in line.points)
        found += values[: max(1, len(values) - len(values) // 100)] if line.style == "raw" else values
    return found


def _grid(values: Scale, floor: float, width: int, top: float) -> list[str]:
    drawn = []
    for tick in ticks(values, 5):
        y = place(values, tick, floor, top)
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{label(tick)}</text>')
    return drawn


def _steps(steps: Scale, floor: float, width: int) -> list[str]:
    drawn = [f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{floor}" y2="{floor}"/>']
    for tick in ticks(steps, 8):
        if tick == int(tick):
            x = place(steps, tick, LEFT, width - RIGHT)
            anchor = "end" if x > width - RIGHT - 12 else "middle"
            drawn.append(f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="{anchor}">{label(tick)}</text>')
    return drawn


def _mark(mark: Event, steps: Scale, floor: float, width: int, top: float) -> str:
    x = place(steps, mark.step, LEFT, width - RIGHT)
    title = f"<title>step {mark.step}: {escape(mark.kind)} {escape(mark.text)}</title>"
    if mark.kind == "checkpoint":
        return f'<path class="saved" d="M{x:.1f} {floor - 5} l3.5 5 l-3.5 5 l-3.5 -5 z">{title}</path>'
    if mark.is_trouble:
        head = f'<circle class="troubled" cx="{x:.1f}" cy="{top}" r="2.5">{title}</circle>'
        return f'<line class="trouble" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}">{title}</line>{head}'
    if mark.kind == "resumed":
        return f'<line class="resumed" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}">{title}</line>'
    return ""


def _lines(lines: Sequence[Line], steps: Scale, values: Scale, floor: float, width: int, top: float) -> list[str]:
    drawn, colour = [], 0
    for line in lines:
        places = [
            (place(steps, x, LEFT, width - RIGHT), place(values, y, floor, top))
            for x, y in thinned(line.points, _MOST_POINTS)
        ]
        if not places:
            continue
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        if line.style != "points":
            drawn.append(f'<path class="{line.style}" d="{path}"/>')
            continue
        drawn.append(f'<path class="points c{colour}" d="{path}"/>')
        drawn += [
            f'<circle class="dot c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.2">'
            f"<title>step {step:g}: {escape(line.name)} {value:.4g}</title></circle>"
            for (x, y), (step, value) in zip(places, thinned(line.points, _MOST_POINTS), strict=True)
        ]
        colour = (colour + 1) % _COLOURS
    return drawn


def thinned(points: Sequence[tuple[float, float]], most: int) -> Sequence[tuple[float, float]]:
    """At most about `most` of the points, evenly, the last one always."""
    if len(points) <= most:
        return points
    stride = -(-len(points) // most)
    return [*points[:-1:stride], points[-1]]


def _legend(chart: Chart, width: int) -> list[tuple[float, int, str, str]]:
    """(x, line, name, sign) of lines and kinds of marks: beside the title, at the right edge, where there is room; else
    in lines of their own below it."""
    entries = _signs(chart) if len(chart.lines) > 1 or chart.marks else []
    wide = [len(name) * _LETTER_WIDTH + 34 for name, _ in entries]
    beside = LEFT + len(chart.title) * _TITLE_LETTER_WIDTH + sum(wide) <= width - RIGHT
    x, line = (width - RIGHT - sum(wide), 0) if beside else (float(LEFT), 1)
    placed = []
    for (name, sign), needed in zip(entries, wide, strict=True):
        if line and x > LEFT and x + needed > width:
            x, line = float(LEFT), line + 1
        placed.append((x, line, name, sign))
        x += needed
    return placed


def _entry(x: float, line: int, name: str, sign: str) -> str:
    place = f"translate({x:.1f} {17 + _LEGEND_LINE * line})"
    return f'<g transform="{place}">{sign}<text x="21">{escape(name)}</text></g>'


def _signs(chart: Chart) -> list[tuple[str, str]]:
    """Names of lines and kinds of marks, and how each is drawn."""
    entries: list[tuple[str, str]] = []
    colour = 0
    for line in chart.lines:
        if line.points:
            sign = f'<line class="{line.style}" x1="0" x2="16" y1="-4" y2="-4"/>'
            if line.style == "points":
                sign = f'<circle class="dot c{colour}" cx="10" cy="-4" r="3.2"/>'
                colour = (colour + 1) % _COLOURS
            entries.append((line.name, sign))
    kinds = {mark.kind for mark in chart.marks}
    if "checkpoint" in kinds:
        entries.append(("checkpoint", '<path class="saved" d="M8 -9 l3.5 5 l-3.5 5 l-3.5 -5 z"/>'))
    if any(mark.is_trouble for mark in chart.marks):
        named = "lost, skipped, rolled back"
        entries.append((named, '<line class="trouble" x1="8" x2="8" y1="-10" y2="2"/>'))
    if "resumed" in kinds:
        entries.append(("resumed", '<line class="resumed" x1="8" x2="8" y1="-10" y2="2"/>'))
    return entries


def board(title: str, subtitle: str, charts: Sequence[Chart]) -> str:
    """All charts as one image that stands alone: the first one over the whole width, the others in pairs."""
    gap, head, tall, low = 16, 58, 330, 220
    whole = 2 * WIDTH + gap
    places: list[tuple[Chart, int, int, int, int]] = []
    for at, chart in enumerate(charts):
        if at == 0:
            places.append((chart, gap, head, whole, tall))
        else:
            row, column = divmod(at - 1, 2)
            places.append((chart, gap + column * (WIDTH + gap), head + tall + gap + row * (low + gap), WIDTH, low))
    height = max((y + high for _, _, y, _, high in places), default=head) + gap
    body = "".join(
        f'<g transform="translate({x} {y})">{inside(chart, height=high, width=wide)}</g>'
        for chart, x, y, wide, high in places
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole + 2 * gap} {height}" '
        f'width="{whole + 2 * gap}" height="{height}"><style>{STYLE}{_HEAD}</style>'
        f'<rect width="100%" height="100%" fill="#f5f6f8"/><text class="head" x="{gap + 4}" y="28">'
        f'{escape(title)}</text><text x="{gap + 4}" y="47">{escape(subtitle)}</text>{body}</svg>'
    )
