"""One line from border to border: title, tabs, keys. Repaints only the columns that changed."""

from __future__ import annotations

from textual.geometry import Region
from textual.strip import Strip

from console.state.spans import EMPTY, Line, padded
from console.widgets.drawn import Drawn
from console.widgets.sheet import changed_columns


class Bar(Drawn, can_focus=False):
    """Shows a line."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; background: $bar; }"

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._line: Line = EMPTY

    def show(self, parts: Line) -> None:
        """Draw this instead; nothing happens where it is the same."""
        width = self.size.width
        changed = changed_columns(padded(self._line, width), padded(parts, width))
        self._line = parts
        if changed is not None:
            self.refresh(Region(changed[0], 0, changed[1] - changed[0], 1))

    def render_line(self, y: int) -> Strip:
        """Textual asks for one line."""
        return self.strip_of(self._line, self.size.width) if y == 0 else self.blank(self.size.width)
