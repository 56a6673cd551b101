"""Alarms as rows: what is wrong, with whom; under the chosen one how to mend it, and by which command. Pure."""

from __future__ import annotations

from console.state.clock import time_of_day
from console.state.figures import clean
from console.state.spans import Line, Span, Tone, joined, line
from runtime.view.cards import AlarmCard, RunView

_TONES: dict[str, Tone] = {"critical": "bad", "warning": "warn", "info": "accent"}
_SIGNS = {"critical": "✗", "warning": "▲", "info": "•"}


def alarm_rows(view: RunView, chosen: str) -> list[tuple[Line, str]]:
    """The alarms nobody has seen, worst first; a quiet line where there are none."""
    rows: list[tuple[Line, str]] = []
    alarms = view.open_alarms
    here = chosen if any(card.key == chosen for card in alarms) else (alarms[0].key if alarms else "")
    for card in alarms:
        rows.append((_told(card), card.key))
        if card.key == here:
            rows += [(detail, "") for detail in _details(card)]
    return rows or [(_quiet(view), "")]


def alarms_title(view: RunView) -> str:
    """`Alarms`, with how many of which kind."""
    levels = [card.level for card in view.open_alarms]
    counts = [f"{levels.count(level)} {level}" for level in ("critical", "warning", "info") if level in levels]
    return " · ".join(["Alarms", *counts])


def _told(card: AlarmCard) -> Line:
    times = f" ({card.seen} times)" if card.seen > 1 else ""
    return line(
        (f"{_SIGNS[card.level]} ", _TONES[card.level]),
        (f"{time_of_day(card.since_seconds)}  ", "dim"),
        (f"{clean(card.subject)}  ", "strong"),
        f"{clean(card.cause)}{times}",
    )


def _details(card: AlarmCard) -> list[Line]:
    said = [line(("  fix  ", "dim"), clean(card.fix))] if card.fix else []
    return [*said, line(("   $   ", "dim"), (clean(card.command), "accent"))] if card.command else said


def _quiet(view: RunView) -> Line:
    mended = sum(card.is_mended for card in view.alarms.values())
    seen = sum(bool(card.acknowledged_by) and not card.is_mended for card in view.alarms.values())
    notes = [line((f"{mended} mended", "dim")) if mended else (), line((f"{seen} seen", "dim")) if seen else ()]
    if not view.run.name:
        return line(("nothing is known yet", "dim"))
    return joined([line(("✓ ", "good"), "no alarms"), *notes], Span("   "))
