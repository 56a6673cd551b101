"""A whole text to edit, with what is wrong with it below. Ctrl+S takes it, Esc leaves it."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import TextArea

from console.dialogs.ask import Judge, verdict_line
from console.widgets.chart import Chart


class TextDialog(ModalScreen[str | None]):
    """Gives the text, or None. A text that is judged to be wrong is not taken."""

    DEFAULT_CSS = """
    TextDialog { align: center middle; }
    TextDialog > Vertical { width: 96%; height: 96%; padding: 0 1; background: $panel; border: round $line-focus;
                            border-title-color: $tone-accent; }
    TextDialog TextArea, TextDialog TextArea:focus { border: none; height: 1fr; padding: 0; background: $panel; }
    TextDialog Chart { background: $panel; height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", show=False, priority=True),
        Binding("ctrl+s", "take", "Take", show=False, priority=True),
    ]

    def __init__(self, title: str, text: str, judge: Judge) -> None:
        super().__init__()
        self._title, self._text, self._judge = title, text, judge

    def compose(self) -> ComposeResult:
        """The text and one line."""
        with Vertical() as box:
            box.border_title = self._title
            box.border_subtitle = "^s takes, Esc leaves"
            yield TextArea(self._text, show_line_numbers=True, soft_wrap=False, tab_behavior="indent")
            yield Chart("verdict")

    def on_mount(self) -> None:
        """Type at once."""
        area = self.query_one(TextArea)
        area.cursor_blink = False
        area.focus()
        self.call_after_refresh(self._tell)

    @on(TextArea.Changed)
    def changed(self, event: TextArea.Changed) -> None:
        """Judge it."""
        event.stop()
        self._tell()

    def action_take(self) -> None:
        """Ctrl+S."""
        text = self.query_one(TextArea).text
        if not self._judge(text):
            self.dismiss(text)

    def _tell(self) -> None:
        self.query_one(Chart).show([verdict_line(self._judge(self.query_one(TextArea).text))])
