"""A console's screen as SVG: every cell where a terminal puts it, whatever the viewer's font is, and small."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from console.app import ConsoleApp

CELL_WIDTH, CELL_HEIGHT, FONT_PIXELS = 8.43, 17.0, 14.0
"""A cell of DejaVu Sans Mono, whose letters are 0.602 em wide; `textLength` makes it one of every other font."""
BASELINE = 13.0
MARGIN = 10.0
FONTS = "'DejaVu Sans Mono', Menlo, 'SF Mono', Consolas, 'Liberation Mono', monospace"
_PIECE = re.compile(r'<path d="M(?P<x>[\d.]+) (?P<y>[\d.]+)H(?P<to>[\d.]+)"(?P<rest>.*)')
_LINES = {"│": "v", "─": "h", "╭": "dr", "╮": "dl", "╰": "ur", "╯": "ul"}
"""Of a frame: drawn as lines, because fonts leave gaps between rows."""


def picture(app: ConsoleApp) -> str:
    """What is on the screen now."""
    width, height = app.size
    ground = app.screen.styles.background.hex if app.screen.styles.background.a else "#000000"
    strips = app.screen._compositor.render_strips()[:height]
    wide, tall = width * CELL_WIDTH + 2 * MARGIN, height * CELL_HEIGHT + 2 * MARGIN
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {tall:.0f}" width="{wide:.0f}"'
        f' font-family="{FONTS}" font-size="{FONT_PIXELS:g}">',
        f'<rect width="100%" height="100%" rx="6" fill="{ground}"/>',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
    ]
    for row, strip in enumerate(strips):
        rows += with_long_lines(_row(strip, row, ground))
    return "\n".join([*rows, "</g></svg>", ""])


def with_long_lines(rows: Iterable[str]) -> list[str]:
    """The same, with pieces of a horizontal line that follow one another as one piece."""
    joined: list[str] = []
    for row in rows:
        last, this = (_PIECE.fullmatch(text) for text in (joined[-1] if joined else "", row))
        if last and this and last.group("y", "rest") == this.group("y", "rest") and _touch(last["to"], this["x"]):
            joined[-1] = f'<path d="M{last["x"]} {last["y"]}H{this["to"]}"{last["rest"]}'
        else:
            joined.append(row)
    return joined


def _touch(end: str, start: str) -> bool:
    return abs(float(end) - float(start)) < 0.02


def _row(strip: Strip, row: int, ground: str) -> Iterable[str]:
    top, column = row * CELL_HEIGHT, 0
    texts: list[str] = []
    for segment in Segment.simplify(strip):
        style = segment.style or Style()
        ink, paper = _colours(style, ground)
        text, cells = segment.text, segment.cell_length
        if paper != ground:
            wide, tall = cells * CELL_WIDTH + 0.3, CELL_HEIGHT + 0.3
            yield f'<rect x="{_x(column)}" y="{top:g}" width="{wide:.2f}" height="{tall:g}" fill="{paper}"/>'
        texts += _runs(text, column, top, ink, style)
        column += cells
    yield from texts


def _runs(text: str, column: int, top: float, ink: str, style: Style) -> Iterable[str]:
    """Words at their places: two blanks and a piece of a frame end a run."""
    start, run = column, ""
    for place, letter in enumerate(text, column):
        if letter in _LINES:
            yield from _run(run, start, top, ink, style)
            yield _frame(_LINES[letter], place, top, ink)
            run, start = "", place + 1
        elif letter == " " and run.endswith(" "):
            yield from _run(run, start, top, ink, style)
            run, start = "", place + 1
        elif letter == " " and not run:
            start = place + 1
        else:
            run += letter
    yield from _run(run, start, top, ink, style)


def _run(text: str, column: int, top: float, ink: str, style: Style) -> Iterable[str]:
    text = text.rstrip(" ")
    if text:
        looks = "".join(
            (' font-weight="bold"' if style.bold else "", ' font-style="italic"' if style.italic else "",
             ' text-decoration="underline"' if style.underline else "")
        )  # fmt: skip
        place = f'x="{_x(column)}" y="{top + BASELINE:g}" textLength="{len(text) * CELL_WIDTH:.2f}"'
        yield f'<text {place} fill="{ink}"{looks}>{escape(text)}</text>'


def _frame(kind: str, column: int, top: float, ink: str) -> str:
    left, middle = column * CELL_WIDTH, column * CELL_WIDTH + CELL_WIDTH / 2
    right, centre, bottom = left + CELL_WIDTH, top + CELL_HEIGHT / 2, top + CELL_HEIGHT
    curve = CELL_WIDTH / 2
    path = {
        "v": f"M{middle:.2f} {top:.2f}V{bottom:.2f}",
        "h": f"M{left:.2f} {centre:.2f}H{right:.2f}",
        "dr": f"M{middle:.2f} {bottom:.2f}V{centre + curve:.2f}Q{middle:.2f} {centre:.2f} {right:.2f} {centre:.2f}",
        "dl": f"M{middle:.2f} {bottom:.2f}V{centre + curve:.2f}Q{middle:.2f} {centre:.2f} {left:.2f} {centre:.2f}",
        "ur": f"M{middle:.2f} {top:.2f}V{centre - curve:.2f}Q{middle:.2f} {centre:.2f} {right:.2f} {centre:.2f}",
        "ul": f"M{middle:.2f} {top:.2f}V{centre - curve:.2f}Q{middle:.2f} {centre:.2f} {left:.2f} {centre:.2f}",
    }[kind]
    return f'<path d="{path}" stroke="{ink}" fill="none"/>'


def _colours(style: Style, ground: str) -> tuple[str, str]:
    ink = style.color.get_truecolor().hex if style.color and not style.color.is_default else "#c9cdd4"
    paper = style.bgcolor.get_truecolor().hex if style.bgcolor and not style.bgcolor.is_default else ground
    return (paper, ink) if style.reverse else (ink, paper)


def _x(column: int) -> str:
    return f"{column * CELL_WIDTH:.2f}"
