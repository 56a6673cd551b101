"""Lines to read: samples, a log. Arrows scroll, Esc closes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.state.spans import Line
from console.widgets.sheet import Row, Sheet


class LinesDialog(ModalScreen[None]):
    """Shows them in a sheet of almost the whole screen."""

    DEFAULT_CSS = """
    LinesDialog { align: center middle; }
    LinesDialog > Sheet { width: 96%; height: 94%; padding: 0 1; background: $panel; border: round $line-focus; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Close", show=False)]

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        super().__init__()
        self._title, self._lines = title, lines

    def compose(self) -> ComposeResult:
        """One sheet."""
        yield Sheet("lines", self._title)

    def on_mount(self) -> None:
        """Fill it; every line is a row, so that the arrows go through them."""
        sheet = self.query_one(Sheet)
        sheet.border_subtitle = "arrows scroll, Esc closes"
        sheet.show([Row(each, f"line {number}") for number, each in enumerate(self._lines)])
        sheet.focus()
