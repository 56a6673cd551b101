"""The journal: events.jsonl, one fact a line, appended for the whole life of a run folder.

What a writer promises
    Each line goes to the kernel whole, in one write, before `write` returns: the death of any process loses nothing.
    A power cut may lose the last lines: `sync` (fsync) is for the moments that matter, which are checkpoints and the
    end; an fsync for each step would cost more than many steps.
    A full disk or an I/O error never stops training: the line is lost and counted, `on_trouble` is told once, and again
    when lines arrive anew. Half a line is cut off again, so that the next one is whole.
    The numbers go on where the last process stopped.

What a reader promises (`runtime.events.replay`)
    A torn line, wherever it is, is skipped and said; a gap in the numbers is counted.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.events.codec import envelope_from_json, envelope_to_json
from runtime.events.run import Outcome, RunFinished, RunStarted, Warned
from runtime.events.types import Envelope

_TAIL_BYTES = 1 << 18
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode_line(envelope: Envelope) -> bytes:
    """The envelope as a line of the journal: JSON (RFC 8259) in UTF-8 with its newline."""
    return _ENCODER.encode(envelope_to_json(envelope)).encode("utf-8", errors="backslashreplace") + b"\n"


def decode_line(line: bytes) -> Envelope:
    """The envelope of a line. Raises ValueError where the line is torn or is none."""
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("the line is not an object")  # noqa: TRY004  one exception for every torn line
    try:
        return envelope_from_json(data)
    except TypeError as wrong:
        raise ValueError(str(wrong)) from wrong


class Journal:
    """The one writer of a run folder's journal. Whoever opens it holds the run's lock.

    Raises OSError from the constructor where the file cannot be opened; afterwards no method but `sync` raises it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_trouble: Callable[[Warned], object] = lambda _: None
        """Told when lines begin to be lost, and when they arrive again."""
        self.lost_lines = 0
        """Lines that could not be written, in this process."""
        self._in_trouble = False
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.next_seq = tail_of(path).last_seq + 1
        """The number that the next fact of this run gets."""
        self._end_a_torn_line()

    def write(self, envelope: Envelope) -> None:
        """Append one line. Where that is impossible, count it as lost, and say so once."""
        line = encode_line(envelope)
        try:
            self._append(line)
        except OSError as problem:
            self.lost_lines += 1
            if not self._in_trouble:
                self._in_trouble = True
                fix = "free space on that disk; training goes on, lines are lost until then"
                self.on_trouble(Warned("journal", f"{self.path} cannot be written: {problem.strerror}", fix))
            return
        if self._in_trouble:
            self._in_trouble = False
            text = f"{self.path} is written again; {self.lost_lines} lines are lost since this process began"
            self.on_trouble(Warned("journal", text))

    def sync(self) -> None:
        """Make everything written so far survive a power cut. Blocks; call it from a thread. Raises OSError."""
        os.fsync(self._file)

    def close(self) -> None:
        """Sync as well as possible, and close the file. The second call does nothing."""
        if self._file < 0:
            return
        with suppress(OSError):  # the lines are with the kernel, and nobody is left who could mend a disk
            self.sync()
        os.close(self._file)
        self._file = -1

    def _append(self, line: bytes) -> None:
        """Write the whole line or nothing."""
        written = os.write(self._file, line)
        if written == len(line):
            return
        end = os.fstat(self._file).st_size
        os.ftruncate(self._file, end - written)
        raise OSError(errno.ENOSPC, "no space left for a whole line")

    def _end_a_torn_line(self) -> None:
        """Close the line that a killed predecessor left open, so that ours begins on a line of its own."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            with suppress(OSError):  # a full disk: `write` will say so
                os.write(self._file, b"\n")


@dataclass(frozen=True, slots=True)
class JournalTail:
    """What the end of a journal tells without reading all of it."""

    last_seq: int = 0
    outcome: Outcome | None = None
    """How the last process of the run ended; None: it was interrupted, or still lives, or there was none."""


def tail_of(path: Path) -> JournalTail:
    """The last number and outcome in a journal, from its end; empty where there is no file. Raises OSError."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = _tail_of_lines(file.read().splitlines())
            if not tail.last_seq and size > _TAIL_BYTES:
                file.seek(0)
                tail = _tail_of_lines(file.read().splitlines())
            return tail
    except FileNotFoundError:
        return JournalTail()


def _tail_of_lines(lines: list[bytes]) -> JournalTail:
    last_seq = 0
    for line in reversed(lines):
        try:
            envelope = decode_line(line)
        except ValueError:
            continue  # torn, or cut by where we began to read
        last_seq = max(last_seq, envelope.seq)
        if isinstance(envelope.event, RunFinished):
            return JournalTail(last_seq, envelope.event.outcome)
        if isinstance(envelope.event, RunStarted):
            break
    return JournalTail(last_seq)
