"""One of several: a list in the middle of the screen. Enter takes, Esc leaves everything as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.state.spans import Line, line
from console.widgets.sheet import Row, Sheet


class PickDialog(ModalScreen[str | None]):
    """Gives the key of what was picked, or None."""

    DEFAULT_CSS = """
    PickDialog { align: center middle; }
    PickDialog > Sheet { width: 76; max-width: 96%; max-height: 90%; padding: 0 1; background: $panel;
                         border: round $line-focus; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "Close", show=False)]

    def __init__(self, title: str, choices: Sequence[tuple[str, str | Line]], chosen: str = "") -> None:
        """`choices`: key and text of each; `chosen`: the key that the cursor begins at."""
        super().__init__()
        self._title, self._chosen = title, chosen
        self._rows = [Row(text if isinstance(text, tuple) else line(text), key) for key, text in choices]

    def compose(self) -> ComposeResult:
        """A sheet in the middle."""
        yield Sheet("pick", self._title)

    def on_mount(self) -> None:
        """Fill it."""
        sheet = self.query_one(Sheet)
        sheet.border_subtitle = "Enter takes, Esc leaves"
        sheet.styles.height = min(len(self._rows) + 2, max(6, self.app.size.height - 2))
        sheet.show(self._rows)
        if self._chosen:
            sheet.choose(self._chosen)
        sheet.focus()

    @on(Sheet.Chosen)
    def taken(self, event: Sheet.Chosen) -> None:
        """Enter, or a click on the row with the cursor."""
        event.stop()
        self.dismiss(event.key)
