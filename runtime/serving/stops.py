"""Cutting an answer at the texts that end it, while it is still being written.

mlx-lm looks for the tokens of a stop text; where the model writes the same letters with other tokens it goes on. Here
the text itself is searched, and what may be the beginning of a stop text is held back until it is known.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """Takes an answer piece by piece and gives what may be sent of it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        """Whether a stop text was found; nothing that comes later counts."""

    def feed(self, text: str) -> str:
        """What is now certain to stand before any stop text."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._undecided())

    def finish(self) -> str:
        """What was held back: the answer is over, and no stop text came."""
        return "" if self.stopped else self._release(len(self._held))

    def _release(self, end: int) -> str:
        free, self._held = self._held[:end], self._held[end:]
        return free

    def _undecided(self) -> int:
        """Letters at the end that may be the beginning of a stop text."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)
