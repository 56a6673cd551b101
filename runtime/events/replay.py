"""Reading a journal back: as envelopes, and as the state that they add up to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.events.fold import fold_all
from runtime.events.journal import decode_line
from runtime.events.state import RunState
from runtime.events.types import Envelope


class JournalReader:
    """The envelopes of a journal, oldest first, in constant memory; afterwards, what was wrong with the file.

    May be iterated while the run goes on, and again later: each time it gives what was appended since. A last line
    without its newline is left for the next time. Raises OSError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_lines: list[int] = []
        """Numbers, from 1, of the lines that are not envelopes."""
        self.torn_end = False
        """The file ends in the middle of a line: its writer was killed, or is about to write the rest."""
        self.missing = 0
        """Facts that were counted but are not in the file (lost on a full disk, or torn)."""
        self._offset_bytes = 0
        self._lines = 0
        self._last_seq = 0

    def __iter__(self) -> Iterator[Envelope]:
        with self.path.open("rb") as file:
            file.seek(self._offset_bytes)
            self.torn_end = False
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn_end = True
                    return
                self._offset_bytes += len(line)
                self._lines += 1
                envelope = self._understood(line)
                if envelope is not None:
                    yield envelope

    @property
    def share(self) -> float:
        """How much of the file was read so far, 0 to 1. Raises OSError where there is none."""
        return min(1.0, self._offset_bytes / max(1, self.path.stat().st_size))

    @property
    def complaint(self) -> str:
        """One sentence on what is wrong with the file; empty where nothing is."""
        parts = []
        if self.torn_lines:
            parts.append(f"{len(self.torn_lines)} torn lines were skipped (the first is line {self.torn_lines[0]})")
        if self.torn_end:
            parts.append("the last line is torn and was skipped")
        if self.missing:
            parts.append(f"{self.missing} facts are missing")
        return f"{self.path}: {'; '.join(parts)}" if parts else ""

    def _understood(self, line: bytes) -> Envelope | None:
        """The line's envelope; None where it is torn or blank."""
        if not line.strip():
            return None
        try:
            envelope = decode_line(line)
        except ValueError:
            self.torn_lines.append(self._lines)
            return None
        if envelope.seq > self._last_seq + 1:
            self.missing += envelope.seq - self._last_seq - 1
        self._last_seq = max(self._last_seq, envelope.seq)
        return envelope


def replay(path: Path) -> tuple[RunState, str]:
    """The state that a journal adds up to, and one sentence on what is wrong with the file (or nothing).

    Raises OSError where the file cannot be read.
    """
    reader = JournalReader(path)
    state = fold_all(reader)
    return state, reader.complaint
