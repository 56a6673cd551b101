"""Intents. Widgets and screens post them; the app, which knows the target and the services, carries them out."""

from __future__ import annotations

from typing import Any

from textual.message import Message

HARMLESS = frozenset({"acknowledge", "resume"})
"""Kinds of acts that need no question."""


class Act(Message):
    """Do something to the current run: proposed first, shown with its effects, then committed (control.proto)."""

    def __init__(self, kind: str, subject: str = "") -> None:
        super().__init__()
        self.kind = kind
        """stop, add_worker, remove_worker, restart, acknowledge, ..."""
        self.subject = subject


class Attach(Message):
    """Look at one more run: a target as the command line takes it."""

    def __init__(self, place: str, screen: str = "run", *, is_own: bool = False) -> None:
        super().__init__()
        self.place = place
        self.screen = screen
        """What to show of it first."""
        self.is_own = is_own
        """This console has just started it, so it may also change it."""


class Copy(Message):
    """Put a text on the clipboard."""

    def __init__(self, text: str, what: str = "") -> None:
        super().__init__()
        self.text = text
        self.what = what
        """What it is, for the sentence that tells about it: `the fix`."""


class Go(Message):
    """Show another screen, and there something special (`at`: see `arrive` of that screen)."""

    def __init__(self, screen: str, **at: Any) -> None:
        super().__init__()
        self.screen = screen
        self.at = at


class Say(Message):
    """A sentence for the user, for some seconds."""

    def __init__(self, sentence: str, *, is_bad: bool = False) -> None:
        super().__init__()
        self.sentence = sentence
        self.is_bad = is_bad
