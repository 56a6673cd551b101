"""Waiting for a fact that nobody announces: a file that grows, a stranger that dies.

Neither a regular file nor somebody else's child can be waited for in a portable way, so this one file looks again in
small pauses. The time limit is a guard that only a real hang exceeds, never a measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.01


class WaitedTooLong(AssertionError):
    """What was waited for did not happen within the guard."""


def until(look: Callable[[], T | None], *, within_seconds: float, what: Callable[[], str]) -> T:
    """The first true value that `look` returns.

    Raises:
        WaitedTooLong: there was none within `within_seconds`; its text is `what()`, asked for at that moment.
    """
    give_up_at = time.monotonic() + within_seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up_at:
            raise WaitedTooLong(f"{what()} (waited {within_seconds:g} s)")
        time.sleep(PAUSE_SECONDS)


def let_pass(seconds: float) -> None:
    """Return after so many seconds: for a fault that lasts, never for something that should have happened by then."""
    time.sleep(seconds)
