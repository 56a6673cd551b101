"""From lines of toned text to what Textual draws: the one border that every letter crosses.

Here foreign text loses what could steer a terminal, tones become the theme's styles, and a terminal without Unicode
gets ASCII of the same width.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from console.state.figures import harmless
from console.state.spans import TONES, Line, padded
from console.state.terminal import drawn


class Drawn(Widget):
    """A widget that draws lines; subclasses say which."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"tone--{tone}" for tone in TONES} | {"cursor"}
    DEFAULT_CSS = """
    Drawn {
        & > .tone--dim { color: $tone-dim; }
        & > .tone--strong { color: $tone-strong; text-style: bold; }
        & > .tone--good { color: $tone-good; }
        & > .tone--warn { color: $tone-warn; }
        & > .tone--bad { color: $tone-bad; text-style: bold; }
        & > .tone--accent { color: $tone-accent; }
        & > .tone--key { color: $tone-key; text-style: bold; }
        & > .tone--curve { color: $tone-curve; }
        & > .cursor { background: $cursor-blurred; }
        &:focus > .cursor { background: $cursor; text-style: bold; }
        &:ansi > .tone--dim { text-style: dim; }
        &:ansi > .cursor { text-style: none; }
        &:ansi:focus > .cursor { text-style: reverse; }
    }
    """
    has_unicode: ClassVar[bool] = True
    """Of the terminal; the app says it once, before anything is drawn."""

    def strip_of(self, parts: Line, width: int, *, is_chosen: bool = False) -> Strip:
        """A line in exactly `width` columns."""
        base = self.rich_style
        if is_chosen:
            base += self.get_component_rich_style("cursor", partial=True)
        segments = []
        for text, tone in padded(parts, width):
            style = base if tone == "plain" else base + self._style(tone)
            segments.append(Segment(drawn(harmless(text), has_unicode=Drawn.has_unicode), style))
        return Strip(segments, width)

    def blank(self, width: int) -> Strip:
        """An empty line. (Textual's own has no style, which its monochrome filter cannot bear.)"""
        return Strip([Segment(" " * width, self.rich_style)], width)

    def _style(self, tone: str) -> Style:
        return self.get_component_rich_style(f"tone--{tone}", partial=True)
