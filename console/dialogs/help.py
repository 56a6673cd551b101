"""`?`: what the keys of a screen do, from the table of keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.state.keys.row import Key
from console.state.spans import Line, line
from console.widgets.sheet import Row, Sheet

MARK = " *"
IN_LISTS = "↑ ↓ or j k move, PgUp PgDn Home End jump, Tab goes to the next panel, Enter opens, Esc closes"
IN_DIALOGS = (
    "in a dialog: Enter takes, Esc leaves all as it was, ← → the other button, ^s takes a text; q closes a list"
)
_WIDTH = 84
_FRAME = 7
"""Columns of border, padding and scroll bar."""


def help_rows(title: str, own: Sequence[Key], shared: Sequence[Key], width: int, *, may_act: bool) -> list[Row]:
    """The keys of a screen, then those of all, then what stands for what, in `width` columns."""
    widest = max(len(key.all_shown) for key in (*own, *shared))

    def told(key: Key) -> list[Row]:
        off = key.acts and not may_act
        texts = wrap(key.help, max(10, width - widest - 2 - len(MARK))) or [""]
        first = line(
            (f"{key.all_shown:>{widest}}  ", "dim" if off else "key"),
            (texts[0], "dim" if off else "plain"),
            (MARK if key.acts else "", "warn"),
        )
        return [Row(first, key.action), *(Row(line(" " * (widest + 2), text)) for text in texts[1:])]

    return [
        Row(line((title, "strong"))),
        *chain.from_iterable(map(told, own)),
        Row(()),
        Row(line(("Everywhere", "strong"))),
        *chain.from_iterable(map(told, shared)),
        *map(Row, _notes(any(key.acts for key in own), may_act, width)),
    ]


def _notes(has_acting: bool, may_act: bool, width: int) -> list[Line]:
    notes: list[Line] = [(), *(line((text, "dim")) for note in (IN_LISTS, IN_DIALOGS) for text in wrap(note, width))]
    if has_acting:
        off = "" if may_act else "; off here, this console is read-only (--operate)"
        first, *others = wrap(f"* changes the run; it asks first{off}", width)
        notes += [line(("*", "warn"), (first[1:], "dim")), *(line((text, "dim")) for text in others)]
    return notes


class HelpDialog(ModalScreen[None]):
    """The table, to be scrolled through; Esc or `?` closes it."""

    DEFAULT_CSS = """
    HelpDialog { align: center middle; }
    HelpDialog > Sheet { width: 84; max-width: 96%; height: auto; max-height: 90%; padding: 1 2;
                         background: $panel; border: round $line-focus; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", show=False)]

    def __init__(self, title: str, own: Sequence[Key], shared: Sequence[Key], *, may_act: bool) -> None:
        super().__init__()
        self._title, self._own, self._shared, self._may_act = title, own, shared, may_act

    def compose(self) -> ComposeResult:
        """A sheet in the middle."""
        yield Sheet("help", "Keys")

    def on_mount(self) -> None:
        """It takes the arrows."""
        sheet = self.query_one(Sheet)
        sheet.titled("Keys", "Esc")
        sheet.focus()
        self._lay_out()

    def on_resize(self) -> None:
        """Lay it out for this size."""
        self._lay_out()

    def _lay_out(self) -> None:
        sheet = self.query_one(Sheet)
        width = min(_WIDTH, int(0.96 * self.app.size.width)) - _FRAME
        sheet.show(help_rows(self._title, self._own, self._shared, width, may_act=self._may_act))
