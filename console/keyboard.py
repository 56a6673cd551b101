"""Keys, one after the other: what a key has set off is done before the next one is looked at.

Textual hands each key at once to whoever has the focus, and what it opens comes later: keys that are typed faster
than a dialog is mounted act on the screen below it, or on nobody. Here a key waits until the one before has been
answered. That is known by a message that follows the same way behind it, through every queue in between, and comes
back to the app; it is sent again until it has come back `ROUNDS` times from the same place, because an answer may post
further messages, a new screen mounts before it reads any, and the focus is set behind that.

Whatever becomes of an answer, keys do not wait for it longer than `PATIENCE_SECONDS`: nobody types blindly for longer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

ROUNDS = 3
"""A key posts to its widget (1), that to its screen (2), and that to the app (3)."""
PATIENCE_SECONDS = 2.0
MOST_WAITING = 1024
"""Keys and pastes; what is typed beyond that is lost, as in a terminal whose program does not read."""
Typed = events.Key | events.Paste


class Passed(Message, bubble=True):
    """Went the way of a key, behind it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Keyboard:
    """What was typed and is not yet answered. The app calls `typed`, `passed` and `moved`, in its own task."""

    def __init__(self, app: App[Any], answer: Callable[[Typed], Awaitable[None]]) -> None:
        """`answer`: what Textual does with a key."""
        self._app, self._answer = app, answer
        self._waiting: deque[Typed] = deque()
        self._follower: MessagePump | None = None
        """Where the newest message began its way; None while nothing is being answered."""
        self._number = self._rounds = 0
        self._place: tuple[Screen[Any], Widget | None] | None = None
        self._asking = False
        self._since = time.monotonic()
        """When the last key was handed on, or a dialog promised."""

    async def typed(self, event: Typed) -> None:
        """One more."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(event)
        if self._follower is not None and not self._follower.is_running:
            self._follow()  # it went away, and what followed the key with it
        await self._go_on()

    async def passed(self, number: int) -> None:
        """What followed the key is back."""
        if number != self._number or self._follower is None or not self._app.screen_stack:
            return
        place = self._here()
        self._rounds = self._rounds + 1 if place == self._place else 0
        self._place = place
        if self._rounds < ROUNDS:
            self._follow()
        else:
            self._follower = None
            await self._go_on()

    def moved(self) -> None:
        """Another screen is in front, or will not be: keys wait until it is there, and what followed the last one
        may be gone with the screen before."""
        self._asking = False
        self._rounds = 0
        self._follow()

    def hold(self) -> None:
        """A dialog will come: until then, or until `moved` is called without one, keys wait."""
        self._asking, self._since = True, time.monotonic()

    async def look(self) -> None:
        """Time has passed: nothing is waited for that is gone, or that takes too long. Called now and then."""
        if self._follower is not None and not self._follower.is_running:
            self._follow()
        if time.monotonic() - self._since > PATIENCE_SECONDS:
            self._asking, self._follower = False, None
            await self._go_on()

    async def _go_on(self) -> None:
        if self._waiting and self._follower is None and not self._asking:
            self._rounds, self._place = 0, self._here()
            self._follower, self._since = _origin(self._place), time.monotonic()
            await self._answer(self._waiting.popleft())
            self._follow()

    def _follow(self) -> None:
        if not self._app.screen_stack:  # the app is ending
            return
        self._number += 1
        self._follower = _origin(self._here())
        self._follower.post_message(Passed(self._number))

    def _here(self) -> tuple[Screen[Any], Widget | None]:
        return self._app.screen, self._app.focused


def _origin(place: tuple[Screen[Any], Widget | None]) -> MessagePump:
    screen, focused = place
    return focused or screen
