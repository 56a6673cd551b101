"""Rows by number, for streaming: from files that can be read anywhere, and from streams that only go forwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.data.files import Row, row_of_line
from runtime.data.lines import Lines
from runtime.data.order import ENDLESS
from runtime.errors import DataError


class Rows(Protocol):
    """A source, row by row."""

    @property
    def count(self) -> int:
        """How many there are; ENDLESS where nobody knows."""
        ...

    @property
    def key(self) -> str:
        """Identity of the content, as far as it is known without reading it."""
        ...

    def row(self, number: int) -> Row | None:
        """Row `number`, from 0; None for a blank line, and behind the end of a stream."""
        ...

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """How long each is, roughly: good enough to sort by."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class LineRows:
    """Rows of files of JSON lines, each one read away."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @property
    def count(self) -> int:
        """See Rows."""
        return len(self._lines)

    @property
    def key(self) -> str:
        """See Rows."""
        return self._lines.key

    def row(self, number: int) -> Row | None:
        """See Rows."""
        file, line = self._lines.place(number)
        return row_of_line(str(file.path), line + 1, file.line(line))

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """See Rows: bytes."""
        return self._lines.lengths(numbers)

    def close(self) -> None:
        """See Rows."""
        self._lines.close()


class ForwardRows:
    """Rows of a stream, of which the last `kept` are in memory. To go back further it is opened again.

    So a worker that resumes reads (and drops) what lies before its place; memory stays the same.
    """

    count = ENDLESS

    def __init__(self, name: str, begin: Callable[[], Iterator[Row]], kept: int, *, once: bool = False) -> None:
        """`begin` opens the stream at its first row. `kept` is at least two windows of the order. `once`: what was
        read is gone."""
        self.key, self._begin, self._once = name, begin, once
        self._kept: deque[Row] = deque(maxlen=kept)
        self._stream: Iterator[Row] = iter(())
        self._read = 0
        self._is_open, self._is_over = False, False

    def row(self, number: int) -> Row | None:
        """See Rows. Raises DataError when the stream ended more than a window before this row, or cannot go back."""
        if not self._is_open or number < self._read - len(self._kept):
            if self._is_open and self._once:
                raise DataError(f"{self.key} is a pipe: sample {number} was read and is gone; start the run anew")
            self._kept.clear()
            self._stream, self._read, self._is_open, self._is_over = self._begin(), 0, True, False
        while number >= self._read and not self._is_over:
            row = next(self._stream, None)
            if row is None:
                self._is_over = True
            else:
                self._kept.append(row)
                self._read += 1
        if number >= self._read:
            if number - self._read >= (self._kept.maxlen or 0) // 2:
                raise DataError(f"{self.key} ended after {self._read} samples; set train.steps to what it has")
            return None
        return self._kept[number - self._read]

    def lengths(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """See Rows: letters."""
        rows = {int(number): self.row(int(number)) for number in np.sort(numbers)}
        return np.array([_letters(rows[int(number)]) for number in numbers], np.int64)

    def close(self) -> None:
        """See Rows."""
        self._stream, self._is_open = iter(()), False


def _letters(row: Row | None) -> int:
    return 0 if row is None or not isinstance(row.value, dict) else sum(len(str(value)) for value in row.value.values())


def rows_of_pipe(path: Path) -> Iterator[Row]:
    """The rows of a named pipe, as they come. Whoever resumes a run must feed it the same lines again."""
    with path.open("rb") as pipe:
        for number, line in enumerate(pipe, 1):
            row = row_of_line(str(path), number, line)
            if row is not None:
                yield row
