"""Files of JSON lines by number: where each line begins, so that any of them is one read away.

The index is eight bytes a line, written once, kept under the file's own marks (size, time of change, a hash of both
ends) and mapped into memory: a file of 100 GB starts as fast as a small one the second time, and costs no memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError

_BLOCK_BYTES = 16 << 20
_END_BYTES = 1 << 16
_NEWLINE = 10
_BOM = b"\xef\xbb\xbf"
_SAY_SECONDS = 5.0

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Says nothing."""


class LineFile:
    """One file and its index. `close` it."""

    def __init__(self, path: Path, starts: NDArray[np.uint64], key: str) -> None:
        """`starts` has one number more than the file has lines: where each begins, and the file's size."""
        self.path, self.key = path, key
        self._starts = starts
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def line(self, number: int) -> bytes:
        """Line `number`, from 0, with its newline. Raises DataError when the file cannot be read any more."""
        start, end = int(self._starts[number]), int(self._starts[number + 1])
        try:
            content = os.pread(self._file, end - start, start)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        if len(content) != end - start:
            raise DataError(f"{self.path} was cut while it was read: line {number + 1} is gone")
        return content.removeprefix(_BOM) if number == 0 else content

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of these lines."""
        return np.asarray(self._starts[numbers + 1] - self._starts[numbers], np.int64)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_lines(path: Path, cache_dir: Path, say: Say = silent, *, every_seconds: float = _SAY_SECONDS) -> LineFile:
    """`path` with its index: the one in `cache_dir`, or a new one that is left there.

    `say` hears `every_seconds` how far a long indexing is. Several processes may ask at once: one of them works.
    Raises DataError.
    """
    try:
        key = key_of(path)
        place = cache_dir / "lines" / f"{key}.u64"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with _alone(place.with_suffix(".lock")):
                if not place.exists():
                    _index(path, place, say, every_seconds)
        return LineFile(path, np.memmap(place, np.dtype("<u8"), "r"), key)
    except OSError as error:
        raise DataError(f"{path} cannot be indexed: {error.strerror}: {error.filename or cache_dir}") from error


def key_of(path: Path) -> str:
    """Marks of a file's content: size, time of change, and a hash of its first and last 64 KiB."""
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        digest = hashlib.blake2b(f"{state.st_size} {state.st_mtime_ns} ".encode(), digest_size=16)
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, state.st_size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def _index(path: Path, place: Path, say: Say, every_seconds: float) -> None:
    """Write the starts of all lines of `path` to `place`, whole or not at all. Memory: one block."""
    partial, read, lines = place.with_suffix(".tmp"), 0, 0
    block = np.empty(_BLOCK_BYTES, np.uint8)
    size, said_at, last = path.stat().st_size, time.monotonic(), 0
    with path.open("rb", buffering=0) as file, partial.open("wb") as starts:
        starts.write(np.zeros(1, "<u8").tobytes())
        while count := file.readinto(memoryview(block)):
            ends = np.flatnonzero(block[:count] == _NEWLINE).astype("<u8") + np.uint64(read + 1)
            read += count
            lines += len(ends)
            last = int(ends[-1]) if len(ends) else last
            starts.write(ends.tobytes())
            if time.monotonic() - said_at > every_seconds:
                said_at = time.monotonic()
                say(f"indexing {path}: {read / max(size, 1):.0%}, {lines} lines")
        if last != read:  # the last line has no newline
            starts.write(np.array([read], "<u8").tobytes())
        starts.flush()
        os.fsync(starts.fileno())
    partial.replace(place)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Lines:
    """Several files, one after the other, as one range of numbers."""

    def __init__(self, files: Sequence[LineFile]) -> None:
        self._files = tuple(files)
        self._ends = np.cumsum([len(file) for file in files], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def key(self) -> str:
        """Marks of all files."""
        return " ".join(file.key for file in self._files)

    def place(self, number: int) -> tuple[LineFile, int]:
        """The file that holds line `number` of all, and its number there, both from 0."""
        at = int(np.searchsorted(self._ends, number, side="right"))
        return self._files[at], number - (int(self._ends[at - 1]) if at else 0)

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of these lines."""
        found = np.empty(len(numbers), np.int64)
        files = np.searchsorted(self._ends, numbers, side="right")
        for at, file in enumerate(self._files):
            here = files == at
            found[here] = file.lengths(numbers[here] - (self._ends[at - 1] if at else 0))
        return found

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
