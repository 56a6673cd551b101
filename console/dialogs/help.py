"""`?`: what the keys of a screen do, from the table of keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from console.state.keys.row import Key
from console.state.spans import Line, Tone, line
from console.widgets.sheet import Row, Sheet

MARK = " *"


def help_rows(title: str, own: Sequence[Key], shared: Sequence[Key], *, may_act: bool) -> list[Row]:
    """The keys of a screen, then those of all, then what stands for what."""
    width = max(len(key.all_shown) for key in (*own, *shared))

    def told(key: Key) -> Row:
        off = key.acts and not may_act
        tone: Tone = "dim" if off else "key"
        parts = line(
            (f"{key.all_shown:>{width}}", tone),
            "  ",
            (key.help, "dim" if off else "plain"),
            (MARK if key.acts else "", "warn"),
        )
        return Row(parts, key.action)

    rows = [
        Row(line((title, "strong"))),
        *map(told, own),
        Row(()),
        Row(line(("Everywhere", "strong"))),
        *map(told, shared),
    ]
    return [*rows, *map(Row, _notes(any(key.acts for key in own), may_act))]


def _notes(has_acting: bool, may_act: bool) -> list[Line]:
    notes = [(), line(("arrows or hjkl move, Tab goes to the next panel, Enter opens, Esc closes", "dim"))]
    if has_acting:
        off = "" if may_act else "; off here, this console is read-only (--operate)"
        notes.append(line(("*", "warn"), (f" changes the run; it asks first{off}", "dim")))
    return notes


class HelpDialog(ModalScreen[None]):
    """Any key closes it."""

    DEFAULT_CSS = """
    HelpDialog { align: center middle; }
    HelpDialog > Sheet { width: 84; max-width: 96%; height: auto; max-height: 90%; padding: 1 2;
                         background: $panel; border: round $line-focus; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", show=False)]

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self._help = rows

    def compose(self) -> ComposeResult:
        """A sheet in the middle."""
        yield Sheet("help", "Keys", cursor=False)

    def on_mount(self) -> None:
        """Fill it."""
        sheet = self.query_one(Sheet)
        sheet.border_subtitle = "Esc"
        sheet.styles.height = min(len(self._help) + 4, max(6, self.app.size.height - 2))
        sheet.can_focus = True
        sheet.focus()
        sheet.show(self._help)
