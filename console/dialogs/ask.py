"""One line of text: a filter, a value. What is wrong with it is said while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from console.state.spans import Line, line
from console.widgets.chart import Chart

Judge = Callable[[str], str]
"""What is wrong with a text, one sentence; empty where nothing is."""


class AskDialog(ModalScreen[str | None]):
    """Gives the text, or None. A text that is judged to be wrong is not taken."""

    DEFAULT_CSS = """
    AskDialog { align: center middle; }
    AskDialog > Vertical { width: 76; max-width: 96%; height: auto; padding: 0 1; background: $panel;
                           border: round $line-focus; border-title-color: $tone-accent; }
    AskDialog Input, AskDialog Input:focus { border: none; height: 1; padding: 0; background: $background;
                                             margin: 0 0 1 0; }
    AskDialog Chart { background: $panel; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", show=False)]

    def __init__(self, title: str, text: str = "", *, about: str = "", judge: Judge = lambda _: "") -> None:
        super().__init__()
        self._title, self._text, self._about, self._judge = title, text, about, judge

    def compose(self) -> ComposeResult:
        """The line, what it is about, what is wrong with it."""
        with Vertical() as box:
            box.border_title = self._title
            box.border_subtitle = "Enter takes, Esc leaves"
            yield Input(self._text, id="text", select_on_focus=False)
            yield Chart("about")

    def on_mount(self) -> None:
        """Type at once."""
        field = self.query_one(Input)
        field.cursor_blink = False
        self.query_one(Chart).styles.height = 3
        field.focus()
        self.call_after_refresh(self._tell, self._text)

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        """Judge it."""
        event.stop()
        self._tell(event.value)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        if not self._judge(event.value):
            self.dismiss(event.value)

    def _tell(self, text: str) -> None:
        sheet = self.query_one(Chart)
        width = max(20, sheet.size.width)
        wrong = self._judge(text)
        about = wrapped(self._about, width, 2)
        sheet.show([*([line((each, "dim")) for each in about]), verdict_line(wrong)])


def verdict_line(wrong: str) -> Line:
    """Whether it is taken, and if not, why."""
    return line(("✗ ", "bad"), (wrong, "bad")) if wrong else line(("✓", "good"))


def wrapped(text: str, width: int, most: int) -> list[str]:
    """A text in lines of `width` columns, `most` at most."""
    import textwrap

    lines = textwrap.wrap(" ".join(text.split()), width)
    return lines[:most]
