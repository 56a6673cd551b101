"""A sample as a person reads it: its text in stretches, each learnt or only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

OPENED, CLOSED = "\u27e6", "\u27e7"
"""Around what is learnt, where there is no colour: white square brackets, which no chat template uses."""
_LEARNT, _RESET = "\x1b[38;5;16;48;5;114m", "\x1b[0m"


@dataclass(frozen=True)
class Piece:
    """Text of neighbouring tokens that are all learnt, or all only read."""

    text: str
    learnt: bool


def pieces(ids: Sequence[int], mask: Sequence[int], decode: Callable[[list[int]], str]) -> tuple[Piece, ...]:
    """The text of `ids` in stretches. `decode` turns token ids into text."""
    tokens = zip(ids, mask, strict=True)
    return tuple(
        Piece(decode([token for token, _ in run]), bool(learnt)) for learnt, run in groupby(tokens, lambda one: one[1])
    )


def marked(parts: Sequence[Piece], *, colour: bool) -> str:
    """The text with its learnt stretches in black on light green, or in white square brackets.

    The two colours are of the terminal's fixed 256: a theme's own black on its own green may be hard to read.
    """
    opened, closed = (_LEARNT, _RESET) if colour else (OPENED, CLOSED)
    return "".join(_framed(part.text, opened, closed, by_line=colour) if part.learnt else part.text for part in parts)


def _framed(text: str, opened: str, closed: str, *, by_line: bool) -> str:
    """`text` between the two. Colours end with each line: a terminal would fill the rest of it."""
    lines = text.split("\n") if by_line else [text]
    return "\n".join(f"{opened}{line}{closed}" if line or not by_line else line for line in lines)
