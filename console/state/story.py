"""Facts as rows: when, what, and whether it is good news. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from console.state.clock import time_of_day
from console.state.notable import line_of, tone_of
from console.state.spans import Line, Tone, line
from runtime.events import Envelope, RunState

_NOTHING = RunState()
_TONES: dict[str, tuple[str, Tone]] = {"good": ("✓ ", "good"), "bad": ("▲ ", "warn"), "plain": ("  ", "plain")}


def newest_first(events: Iterable[Envelope], most: int) -> list[tuple[Line, str]]:
    """At most so many facts that are worth a line, the newest first."""
    rows: list[tuple[Line, str]] = []
    for envelope in reversed(list(events)):
        if len(rows) >= most:
            break
        parts = event_line(envelope)
        if parts:
            rows.append((parts, str(envelope.seq)))
    return rows


def event_line(envelope: Envelope) -> Line:
    """The fact in one line; empty where it needs none."""
    text = line_of(envelope, _NOTHING).partition("\n")[0]
    sign, tone = _TONES[tone_of(envelope)]
    return line((f"{time_of_day(envelope.wall_seconds)}  ", "dim"), (sign, tone), text) if text else ()
