"""Dots in letters: braille (two by four to a cell), quarter blocks (two by two), or ASCII (one by two). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from console.state.scale import Scale
from console.state.series import Column


class Alphabet(NamedTuple):
    """How many dots a letter has, and which letter has which dots."""

    name: str
    columns: int
    """Dots beside each other in a cell."""
    rows: int
    bits: tuple[tuple[int, ...], ...]
    """Of the dot in [row][column]."""
    letters: str
    """By the sum of the bits; the first is empty."""
    upright: str
    """A vertical line of a mark."""
    cursor: str
    floor: str
    """The horizontal axis."""
    wall: str
    tick: str
    corner: str


BRAILLE = Alphabet(
    "braille", 2, 4, ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80)),
    " " + "".join(chr(0x2800 + bits) for bits in range(1, 256)), "┊", "│", "─", "│", "┤", "└",
)  # fmt: skip
BLOCKS = Alphabet(
    "blocks", 2, 2, ((1, 2), (4, 8)), " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█", "┊", "│", "─", "│", "┤", "└"
)  # fmt: skip
ASCII = Alphabet("ascii", 1, 2, ((1,), (2,)), " '.:", "|", "|", "-", "|", "+", "+")
ALPHABETS = {alphabet.name: alphabet for alphabet in (BRAILLE, BLOCKS, ASCII)}


class Canvas:
    """Dots from the upper left corner; as many cells as asked for."""

    def __init__(self, alphabet: Alphabet, columns: int, rows: int) -> None:
        self.alphabet = alphabet
        self.width, self.height = columns * alphabet.columns, rows * alphabet.rows
        self._cells = [[0] * columns for _ in range(rows)]

    def upright(self, column: int, top: int, bottom: int) -> None:
        """Dots from `top` to `bottom`, both included, in either order."""
        wide, tall = self.alphabet.columns, self.alphabet.rows
        place, across = divmod(column, wide)
        for row in range(min(top, bottom), max(top, bottom) + 1):
            self._cells[row // tall][place] |= self.alphabet.bits[row % tall][across]

    def letters(self) -> list[str]:
        """One text for each row of cells; a cell without dots is a space."""
        letters = self.alphabet.letters
        return ["".join(letters[bits] for bits in row) for row in self._cells]


def drawn(
    alphabet: Alphabet, columns: Sequence[Column | None], scale: Scale, cells: int, rows: int, *, dotted: bool = False
) -> list[str]:
    """A curve in letters: each column from its lowest to its highest value, neighbours joined without a gap.

    Across columns without a value goes a straight line; `dotted` leaves out every second pair of columns.
    """
    canvas = Canvas(alphabet, cells, rows)
    before: tuple[int, int] | None = None
    for place, column in enumerate(columns[: canvas.width]):
        if column is None:
            continue
        target = _row(canvas, scale, column.first)
        strokes = [(place, _row(canvas, scale, column.high), _row(canvas, scale, column.low))]
        strokes += _bridge(before, (place, target)) if before else []
        for at, top, bottom in strokes:
            if not (dotted and at // 2 % 2):
                canvas.upright(at, top, bottom)
        before = (place, _row(canvas, scale, column.last))
    return canvas.letters()


def _bridge(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """(column, row, row) of the uprights that lead from one dot to another, the last one's column included."""
    (first, level), (last, target) = start, end
    previous = level
    for place in range(first + 1, last + 1):
        row = round(level + (target - level) * (place - first) / (last - first))
        yield place, previous + (row > previous) - (row < previous), row
        previous = row


def _row(canvas: Canvas, scale: Scale, value: float) -> int:
    return round((canvas.height - 1) * (1 - scale.share(value)))
