"""Progress for a terminal: one line at the bottom that changes, and permanent lines above it.

Three escape sequences (ECMA-48) are all it needs: carriage return, erase to the end of the line, and colours, which
NO_COLOR turns off. Nothing is drawn when nothing happened, and never more often than four times a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO

from console.cli.progress.output import Output
from console.cli.progress.repeats import Repeats
from console.cli.progress.status import line_of_width
from console.state.notable import Tone, line_of, tone_of
from runtime.events import Envelope, RunState

_REDRAW_SECONDS = 0.25
_ERASE = "\r\x1b[K"
_COLOURS: dict[Tone, str] = {"bad": "\x1b[31m", "good": "\x1b[32m", "plain": ""}
_NO_COLOUR = "\x1b[0m"


class Live:
    """Draws on the terminal behind `stream`. `columns` says how wide it is now."""

    def __init__(self, stream: TextIO, *, colour: bool = True, columns: Callable[[], int] | None = None) -> None:
        self._output, self._repeats = Output(stream), Repeats()
        self._colour = colour
        self._columns = columns or (lambda: _columns_of(stream))
        self._drawn = ""
        self._drawn_at: float | None = None

    def update(self, envelope: Envelope, state: RunState) -> None:
        """Put a notable fact above the line, and draw the line anew where it changed and is due."""
        notable = line_of(envelope, state) if self._repeats.is_news(envelope) else ""
        above = f"{self._coloured(notable, tone_of(envelope))}\n" if notable else ""
        if above or self._due(envelope.wall_seconds):
            self._draw(envelope.wall_seconds, state, above)

    def close(self, state: RunState) -> None:
        """Leave the last figures as a permanent line."""
        if self._drawn_at is not None:
            self._draw(state.wall_seconds, state)
            self._output.write("\n")
            self._drawn_at = None

    def _due(self, now_seconds: float) -> bool:
        return self._drawn_at is None or not 0 <= now_seconds - self._drawn_at < _REDRAW_SECONDS

    def _draw(self, now_seconds: float, state: RunState, above: str = "") -> None:
        """Draw the line, under a permanent text, in one write: a terminal shows no state between."""
        line = line_of_width(state, max(10, self._columns() - 1))
        self._drawn_at = now_seconds
        if above or line != self._drawn:
            self._drawn = line
            self._output.write(f"{_ERASE}{above}{line}")

    def _coloured(self, text: str, tone: Tone) -> str:
        colour = _COLOURS[tone] if self._colour else ""
        return f"{colour}{text}{_NO_COLOUR}" if colour else text


def _columns_of(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
