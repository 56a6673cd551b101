"""Lines of text with a tone for each part: what the pure side of the console hands to its widgets.

A tone says what a text means and never how it looks; the theme decides that. No markup is ever parsed: a text is
letters, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from console.state.figures import columns, harmless

Tone: TypeAlias = Literal["plain", "dim", "strong", "good", "warn", "bad", "accent", "key", "curve"]
"""plain; dim: of little weight; strong: what the eye should find; good, warn, bad: news; accent: where one is;
key: to press; curve: a line of a chart."""
TONES: tuple[Tone, ...] = get_args(Tone)


class Span(NamedTuple):
    """Some letters of one tone."""

    text: str
    tone: Tone = "plain"


Line: TypeAlias = tuple[Span, ...]
EMPTY: Line = ()


def line(*parts: Span | str | tuple[str, Tone]) -> Line:
    """A line of these parts; a bare string is plain. Empty parts go, and what could steer a terminal is spaces."""
    spans = [Span(part) if isinstance(part, str) else Span(*part) for part in parts]
    return tuple(Span(harmless(span.text), span.tone) for span in spans if span.text)


def width_of(parts: Line) -> int:
    """Columns that the line takes."""
    return sum(columns(span.text) for span in parts)


def text_of(parts: Line) -> str:
    """The letters alone."""
    return "".join(span.text for span in parts)


def toned(parts: Line, tone: Tone) -> Line:
    """The same letters, all in one tone."""
    return tuple(Span(span.text, tone) for span in parts)


def cut(parts: Line, width: int) -> Line:
    """The line in at most `width` columns; an ellipsis ends one that was longer."""
    if width_of(parts) <= width:
        return parts
    kept: list[Span] = []
    left = width - 1
    for span in parts:
        text = _fitting(span.text, left)
        left -= columns(text)
        kept.append(Span(text, span.tone))
        if len(text) < len(span.text):
            break
    return (*(span for span in kept if span.text), Span("…", "dim")) if width > 0 else ()


def padded(parts: Line, width: int) -> Line:
    """The line in exactly `width` columns."""
    fitting = cut(parts, width)
    gap = width - width_of(fitting)
    return (*fitting, Span(" " * gap)) if gap > 0 else fitting


def between(left: Line, right: Line, width: int) -> Line:
    """`left` at the left border, `right` at the right one; the left one is cut where both do not fit."""
    room = width - width_of(right)
    return cut(right, width) if room <= 0 else (*padded(left, room), *right)


def joined(parts: Iterable[Line], separator: Span) -> Line:
    """The lines one after the other with a separator between those that are not empty."""
    whole: list[Span] = []
    for part in parts:
        if part:
            whole += [separator, *part] if whole else part
    return tuple(whole)


class Column(NamedTuple):
    """How a column of a table is laid out."""

    title: str
    is_right: bool = False
    """Numbers stand at the right."""
    most: int = 0
    """Columns of the terminal at most; 0: as wide as its widest cell."""
    weight: int = 0
    """Which one goes first where there is no room: the highest above 0; 0 never goes."""


def table(heads: Sequence[Column], rows: Sequence[Sequence[Line]], width: int, gap: int = 2) -> list[Line]:
    """The title row, then one line for each row; whole columns go where the width does not suffice."""
    widths = [_width(head, [row[place] for row in rows]) for place, head in enumerate(heads)]
    shown = list(range(len(heads)))
    while sum(widths[place] for place in shown) + gap * (len(shown) - 1) > width:
        spare = max(shown, key=lambda place: heads[place].weight, default=0)
        if not shown or not heads[spare].weight:
            break
        shown.remove(spare)
    titles = [line((head.title, "dim")) for head in heads]
    return [_row([(each[place], widths[place], heads[place]) for place in shown], gap) for each in [titles, *rows]]


def _row(cells: Sequence[tuple[Line, int, Column]], gap: int) -> Line:
    whole: list[Span] = []
    for number, (cell, width, head) in enumerate(cells):
        if number:
            whole.append(Span(" " * gap))
        fitting = cut(cell, width)
        space = Span(" " * (width - width_of(fitting)))
        whole += [space, *fitting] if head.is_right else [*fitting, space]
    return tuple(span for span in whole if span.text)


def _width(head: Column, cells: Iterable[Line]) -> int:
    widest = max([columns(head.title), *map(width_of, cells)])
    return min(widest, head.most) if head.most else widest


def _fitting(text: str, width: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += columns(character)
        if used > width:
            return text[:place]
    return text
