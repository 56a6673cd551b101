"""Lines of the processes' logs: what a line says of itself, which ones are wanted, and in which order. Pure.

A line as our processes write it (runtime.app.log): `2026-11-23 01:02:03,456 WARNING mlx-distributed: text`. Anything
else (a traceback, a library's print) belongs to the line before it, and takes its time and level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

LEVELS = ("debug", "info", "warning", "error", "critical")
"""From the least important on."""
MOST_CHARACTERS = 4000
"""Of one line; the rest is cut."""
_OURS = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_TROUBLE = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|^\w*(Error|Exception)\b")


class Place(NamedTuple):
    """Where to go on reading in a file."""

    offset_bytes: int
    seconds: float = 0.0
    """Of the last line before it that said its time."""
    level: str = "info"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line."""

    source: str
    """Name of its file without the ending: `worker-0`, `coordinator`."""
    offset_bytes: int
    """Of its first byte; (source, offset) names the line for ever."""
    text: str
    level: str
    seconds: float
    """Unix time that it says, or that the line before it said; 0 before the first that did."""


@dataclass(frozen=True)
class Wanted:
    """Which lines."""

    level: str = "debug"
    """This one and worse."""
    pattern: re.Pattern[str] | None = None
    sources: frozenset[str] = frozenset()
    """Empty: every one."""

    @property
    def takes_all(self) -> bool:
        """Whether every line of its sources is wanted."""
        return self.level == LEVELS[0] and self.pattern is None

    def takes(self, line: LogLine) -> bool:
        """Whether the line is wanted."""
        if LEVELS.index(line.level) < LEVELS.index(self.level):
            return False
        return self.pattern is None or self.pattern.search(line.text) is not None

    def takes_source(self, source: str) -> bool:
        """Whether any line of that file can be."""
        return not self.sources or source in self.sources


def parsed(source: str, data: bytes, place: Place) -> tuple[list[LogLine], Place]:
    """The whole lines of `data`, which lies at `place`, and where to go on. A last line without its end is left."""
    lines = []
    for raw in data.splitlines(keepends=True):
        if not raw.endswith(b"\n"):
            break
        text = raw.rstrip(b"\r\n").decode("utf-8", errors="replace")[:MOST_CHARACTERS]
        place = _told_by(text, place)
        if text.strip():
            lines.append(LogLine(source, place.offset_bytes, text, place.level, place.seconds))
        place = place._replace(offset_bytes=place.offset_bytes + len(raw))
    return lines, place


def merged(lines: Iterable[LogLine]) -> list[LogLine]:
    """The lines by time; those of one file stay in their order, whatever its clock did."""
    latest: dict[str, float] = {}
    timed = []
    for line in lines:
        latest[line.source] = max(line.seconds, latest.get(line.source, 0.0))
        timed.append((latest[line.source], line))
    return [line for _, line in sorted(timed, key=lambda each: each[0])]


def selected(lines: Iterable[LogLine], wanted: Wanted) -> Iterator[LogLine]:
    """The lines that are wanted."""
    return (line for line in lines if wanted.takes(line))


def _told_by(text: str, place: Place) -> Place:
    match = _OURS.match(text)
    if match is None:
        is_trouble = place.level in {"debug", "info"} and _TROUBLE.search(text) is not None
        return place._replace(level="error") if is_trouble else place
    try:
        at = datetime.fromisoformat(match[1])
    except ValueError:  # the 31st of February
        return place._replace(level=match[3].lower())
    return place._replace(seconds=at.timestamp() + int(match[2]) / 1000, level=match[3].lower())
