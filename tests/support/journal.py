"""Reading a run's events.jsonl while it is being written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from runtime.events import Envelope, envelope_from_json


class Follower:
    """Reads the envelopes of a journal as they are appended; a torn last line is left for the next look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[Envelope] = []
        self._offset_bytes = 0

    def fresh(self) -> list[Envelope]:
        """The envelopes appended since the last look; none while the file does not exist."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset_bytes)
                appended = file.read()
        except FileNotFoundError:
            return []
        whole = appended[: appended.rfind(b"\n") + 1]
        self._offset_bytes += len(whole)
        found = list(_envelopes(whole))
        self.seen += found
        return found


def read_journal(path: Path) -> list[Envelope]:
    """Every whole envelope of a journal."""
    return Follower(path).fresh()


def _envelopes(lines: bytes) -> Iterator[Envelope]:
    for line in lines.splitlines():
        yield envelope_from_json(json.loads(line))
