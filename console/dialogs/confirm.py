"""An action before it is done: what it would do, in sentences; and Cancel, which is the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from console.state.figures import clean

DEAF_SECONDS = 0.25
"""A key that was meant for the screen below must not say yes here."""


class ConfirmDialog(ModalScreen[bool]):
    """Ends with True where a person said yes. With `confirm`, that word must be typed first."""

    AUTO_FOCUS = ""

    DEFAULT_CSS = """
    ConfirmDialog { align: center middle; }
    ConfirmDialog > Vertical { width: 76; max-width: 96%; height: auto; max-height: 90%; padding: 1 2;
                               background: $panel; border: round $line-focus; border-title-color: $tone-accent; }
    ConfirmDialog #effects { height: auto; margin-bottom: 1; }
    ConfirmDialog #word { display: none; height: 1; border: none; padding: 0; background: $bar; margin-bottom: 1; }
    ConfirmDialog #ask { display: none; height: 1; color: $tone-warn; }
    ConfirmDialog.-typed #word, ConfirmDialog.-typed #ask { display: block; }
    ConfirmDialog Horizontal { height: auto; align-horizontal: right; }
    ConfirmDialog Button { margin-left: 2; min-width: 12; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("left,right", "other", "Other button", show=False),
    ]

    def __init__(
        self, title: str, effects: Sequence[str], confirm: str = "", place: str = "", deaf_seconds: float = DEAF_SECONDS
    ) -> None:
        super().__init__()
        self._deaf_seconds = deaf_seconds
        self._title, self._effects, self._confirm, self._place = title, effects, confirm, place
        self.set_class(bool(confirm), "-typed")

    def compose(self) -> ComposeResult:
        """The effects over the buttons."""
        with Vertical() as box:
            box.border_title = Content(f" {clean(self._title)} ")
            box.border_subtitle = Content(f" {clean(self._place)} ") if self._place else None
            yield Static(Content("\n".join(f"• {clean(effect)}" for effect in self._effects)), id="effects")
            yield Static(Content(f"type {self._confirm} to allow it:"), id="ask")
            yield Input(id="word")
            with Horizontal():
                yield Button("Cancel", id="cancel")
                yield Button(self._title.partition(" ")[0].capitalize(), id="do", variant="warning")

    def on_mount(self) -> None:
        """Nobody has the keys in the first moment; a word is not typed by mistake."""
        self.query_one("#do", Button).disabled = bool(self._confirm)
        if self._confirm:
            self.listen()
        else:
            self.set_timer(self._deaf_seconds, self.listen)

    def listen(self) -> None:
        """From now on keys are heard, by Cancel or by the field for the word."""
        if self.focused is None:
            self.query_one("#word" if self._confirm else "#cancel").focus()

    @on(Input.Changed, "#word")
    def typed(self, changed: Input.Changed) -> None:
        """The word is there, or not yet."""
        self.query_one("#do", Button).disabled = changed.value.strip() != self._confirm

    @on(Input.Submitted, "#word")
    def entered(self, submitted: Input.Submitted) -> None:
        """Enter behind the right word is a yes."""
        if submitted.value.strip() == self._confirm:
            self.dismiss(True)

    @on(Button.Pressed)
    def pressed(self, pressed: Button.Pressed) -> None:
        """One of the two."""
        self.dismiss(pressed.button.id == "do")

    def action_cancel(self) -> None:
        """Nothing is done."""
        self.dismiss(False)

    def action_other(self) -> None:
        """The other button; in the first moment none."""
        if self.focused is not None:
            self.focus_next("Button")
