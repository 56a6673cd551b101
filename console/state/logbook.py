"""Log lines and facts of a run as one list by time, filtered. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from console.state.clock import time_of_day
from console.state.figures import clean
from console.state.notable import line_of, tone_of
from console.state.spans import Line, Tone, line
from runtime.events import Envelope, RunState
from runtime.view.logs import LEVELS, LogLine

EVENTS = "event"
"""Where facts come from, as a source."""
MARK = "mark"
_NOTHING = RunState()
_REMEMBERED = 1 << 14
"""Entries and rows that need not be made again: each second most of the list is what it was."""
_OURS = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ (?:mlx-distributed: )?")
_LETTERS: dict[str, tuple[str, Tone]] = {
    "debug": ("DBG", "dim"), "info": ("INF", "dim"), "warning": ("WRN", "warn"), "error": ("ERR", "bad"),
    "critical": ("CRT", "bad"),
}  # fmt: skip


class Entry(NamedTuple):
    """A line of the list."""

    seconds: float
    source: str
    level: str
    text: str
    key: str
    """Names it for ever."""
    is_good: bool = False


@dataclass(frozen=True)
class Filter:
    """Which entries are shown."""

    level: str = "debug"
    """This one and worse."""
    pattern: str = ""
    """A regular expression; with ! in front: those without it."""
    source: str = ""
    """Only this one; empty: all."""
    events: bool = True
    matcher: re.Pattern[str] | None = field(default=None, compare=False)
    """What `pattern` means (see `compiled`)."""

    def takes(self, entry: Entry) -> bool:
        """Whether the entry is shown; marks always are."""
        if entry.source == MARK:
            return True
        if entry.source == EVENTS and not self.events:
            return False
        if LEVELS.index(entry.level) < LEVELS.index(self.level) or (self.source and entry.source != self.source):
            return False
        if self.matcher is None:
            return True
        return (self.matcher.search(f"{entry.source} {entry.text}") is not None) != self.pattern.startswith("!")

    def told(self) -> str:
        """What it leaves out, for a title; empty where it leaves out nothing."""
        parts = [
            f"/{self.pattern}/" if self.pattern else "",
            f"{self.level} and worse" if self.level != "debug" else "",
            self.source,
            "" if self.events else "no events",
        ]
        return " · ".join(part for part in parts if part)


def compiled(pattern: str) -> re.Pattern[str] | None:
    """What a filter's text means. Raises ValueError, one sentence, for what is no regular expression."""
    bare = pattern.removeprefix("!")
    try:
        return re.compile(bare, re.IGNORECASE) if bare else None
    except re.error as wrong:
        raise ValueError(f"{bare} is no regular expression: {wrong}") from wrong


def next_level(level: str) -> str:
    """From debug to error, and round."""
    shown = LEVELS[: LEVELS.index("error") + 1]
    return shown[(shown.index(level) + 1) % len(shown)] if level in shown else shown[0]


def entries_of(logs: Iterable[LogLine], events: Iterable[Envelope], marks: Iterable[float]) -> list[Entry]:
    """All of it by time; what has no time stands before what has one, and lines of one source stay in order."""
    told = [_entry_of_line(each) for each in logs]
    told += (entry for entry in map(entry_of, events) if entry is not None)
    told += (Entry(at, MARK, "info", f"mark {time_of_day(at)}", f"mark:{at}") for at in marks)
    latest: dict[str, float] = {}
    timed: list[tuple[float, Entry]] = []
    for entry in told:
        latest[entry.source] = max(entry.seconds, latest.get(entry.source, 0.0))
        timed.append((latest[entry.source], entry))
    return [entry for _, entry in sorted(timed, key=lambda each: each[0])]


@lru_cache(_REMEMBERED)
def _entry_of_line(told: LogLine) -> Entry:
    text, key = clean(_OURS.sub("", told.text)), f"{told.source}:{told.offset_bytes}"
    return Entry(told.seconds, told.source, told.level, text, key)


def entry_of(envelope: Envelope) -> Entry | None:
    """A fact as an entry; None where it needs no line."""
    text = line_of(envelope, _NOTHING).partition("\n")[0]
    if not text:
        return None
    tone = tone_of(envelope)
    level = "warning" if tone == "bad" else "info"
    return Entry(envelope.wall_seconds, EVENTS, level, text, f"event:{envelope.seq}", tone == "good")


def sources_of(entries: Iterable[Entry]) -> list[str]:
    """Who says something, by name."""
    return sorted({entry.source for entry in entries} - {MARK})


@lru_cache(_REMEMBERED)
def row_of(entry: Entry, width: int, source_width: int) -> Line:
    """The entry in one line; on a narrow terminal without its source's full name."""
    if entry.source == MARK:
        rule = "─" * max(0, (width - len(entry.text) - 2) // 2)
        return line((f"{rule} {entry.text} {rule}", "accent"))
    letters, tone = _LETTERS[entry.level]
    millis = f".{int(entry.seconds * 1000) % 1000:03d}" if width >= 90 and entry.seconds else ""
    text: Tone = "bad" if tone == "bad" else "good" if entry.is_good else "plain"
    return line(
        (f"{time_of_day(entry.seconds)}{millis} ", "dim"),
        (f"{entry.source:<{source_width}.{source_width}} ", "accent" if entry.source == EVENTS else "dim"),
        (f"{letters} ", tone),
        (entry.text, text),
    )


def record_lines(entry: Entry, width: int, height: int) -> list[Line]:
    """The whole entry: where it comes from, and its text over several lines."""
    head = line((f"{entry.source}  ", "strong"), (f"{time_of_day(entry.seconds)}  {entry.level}", "dim"))
    chunks = [entry.text[at : at + width] for at in range(0, len(entry.text), max(1, width))]
    return [head, *(line(chunk) for chunk in chunks)][:height]


def next_trouble(entries: Sequence[Entry], here: str, by: int) -> str:
    """Key of the next (or last) warning or worse from `here` on, round and round; empty where there is none."""
    troubles = [place for place, entry in enumerate(entries) if LEVELS.index(entry.level) >= LEVELS.index("warning")]
    if not troubles:
        return ""
    start = next((place for place, entry in enumerate(entries) if entry.key == here), -1)
    ahead = [place for place in troubles if (place > start if by > 0 else place < start)]
    chosen = (ahead[0] if by > 0 else ahead[-1]) if ahead else (troubles[0] if by > 0 else troubles[-1])
    return entries[chosen].key
