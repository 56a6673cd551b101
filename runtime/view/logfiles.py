"""The logs of a run's folder, read as they grow, from a cursor that a reader can keep over any interruption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from runtime.view.logs import LogLine, Place, Wanted, merged, parsed, selected

MOST_BYTES = 1 << 18
"""Read of one file at once; the rest comes with the next look."""


class LogFiles:
    """Reads `<folder>/logs/*.log`. Raises nothing for a file that is gone or that cannot be read: it has no lines."""

    def __init__(self, run_folder: Path, wanted: Wanted, cursor: Mapping[str, int] | None = None) -> None:
        """`cursor` says for each source how many bytes of it were read before; an unknown source begins at 0."""
        self._folder = run_folder / "logs"
        self._wanted = wanted
        self._places = {source: Place(offset) for source, offset in (cursor or {}).items()}

    @property
    def cursor(self) -> dict[str, int]:
        """Where each source is by now."""
        return {source: place.offset_bytes for source, place in self._places.items()}

    def begin_with_newest(self, lines: int) -> list[LogLine]:
        """The newest so many wanted lines, merged by time, of what the ends of the files hold; go on after them."""
        found = []
        for source, path in self._files():
            size = _size(path)
            data = _read(path, max(0, size - MOST_BYTES), MOST_BYTES)
            begin = size - len(data)
            if begin > 0:  # in the middle of a line
                first = data.find(b"\n") + 1
                begin, data = begin + first, data[first:]
            if self._wanted.takes_all and (first := _begin_of_newest(data, 2 * lines)):  # blank lines are none
                begin, data = begin + first, data[first:]
            fresh, self._places[source] = parsed(source, data, Place(begin))
            found += fresh
        newest = merged(selected(found, self._wanted))
        return newest[max(0, len(newest) - lines) :]

    def fresh(self) -> list[LogLine]:
        """The wanted lines that were written since the last look (up to a limit for each file), merged by time."""
        found = []
        for source, path in self._files():
            place = self._places.get(source, Place(0))
            if _size(path) < place.offset_bytes:  # somebody emptied it
                place = Place(0)
            data = _read(path, place.offset_bytes, MOST_BYTES)
            if len(data) == MOST_BYTES and b"\n" not in data:  # a line longer than anybody reads
                data = data[:-1] + b"\n"
            fresh, self._places[source] = parsed(source, data, place)
            found += fresh
        return merged(selected(found, self._wanted))

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self._folder.glob("*.log")):
            if self._wanted.takes_source(path.stem):
                yield path.stem, path


def _begin_of_newest(data: bytes, lines: int) -> int:
    """Where the last so many lines begin, and one that is not ended."""
    at = len(data)
    for _ in range(lines + 1):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError:
        return b""
