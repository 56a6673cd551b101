"""What need not be said again: a disk that stays full fails each checkpoint, and one line of it does for a while."""

from __future__ import annotations

import re

from runtime.events import CheckpointFailed, CheckpointWritten, Envelope

AGAIN_AFTER_SECONDS = 600.0
_FIGURES = re.compile(r"[\d.]+")


class Repeats:
    """Remembers which failure was said last, and when."""

    def __init__(self) -> None:
        self._said, self._at_seconds = "", 0.0

    def is_news(self, envelope: Envelope) -> bool:
        """Whether this fact deserves a line now: another failure than the last one, figures aside, or an old one."""
        event, now = envelope.event, envelope.wall_seconds
        if isinstance(event, CheckpointWritten):
            self._said = ""
        if not isinstance(event, CheckpointFailed):
            return True
        failure = _FIGURES.sub("", event.reason)
        if failure == self._said and 0 <= now - self._at_seconds < AGAIN_AFTER_SECONDS:
            return False
        self._said, self._at_seconds = failure, now
        return True
