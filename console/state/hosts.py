"""The Hosts screen's lines: targets as a table, the ten steps of a check, what ssh said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

from console.state.figures import duration
from console.state.spans import Column, Line, Tone, line, table

COLUMNS = (
    Column("", most=1),
    Column("target", most=34),
    Column("via", most=6, weight=5),
    Column("state", most=12),
    Column("mode", most=9, weight=3),
    Column("version", most=9, weight=6),
    Column("rtt", is_right=True, most=7, weight=4),
    Column("run", most=24, weight=2),
    Column("B/s", is_right=True, most=6, weight=7),
)
_STATES: dict[str, tuple[str, Tone]] = {
    "live": ("● live", "good"),
    "stale": ("! stale", "bad"),
    "connecting": ("… connecting", "warn"),
    "replay": ("■ journal", "dim"),
}
_INDENT = 19
"""Columns before the sentence of a step."""
_OUTCOMES: dict[str, tuple[str, Tone]] = {
    "ok": ("ok  ", "good"), "warn": ("warn", "warn"), "fail": ("FAIL", "bad"), "skip": ("skip", "dim"),
}  # fmt: skip


class HostRow(NamedTuple):
    """One target."""

    name: str
    via: str
    liveness: str
    age_seconds: float | None
    may_act: bool
    version: str
    round_trip_seconds: float | None
    run: str
    bytes_per_second: float | None
    trouble: str
    is_current: bool


class Step(NamedTuple):
    """One step of a check."""

    number: int
    name: str
    outcome: str
    sentence: str
    fix: str


def host_table(rows: Sequence[HostRow], width: int) -> list[Line]:
    """The title row, then a line for each target."""
    return table(COLUMNS, [_cells(row) for row in rows], width)


def _cells(row: HostRow) -> list[Line]:
    word, tone = _STATES.get(row.liveness, (row.liveness, "plain"))
    if row.liveness == "stale" and row.age_seconds is not None:
        word = f"! {duration(row.age_seconds)} old"
    if row.liveness == "connecting" and row.trouble:
        word, tone = "! failed", "bad"
    ping = "-" if row.round_trip_seconds is None else f"{1000 * row.round_trip_seconds:.0f} ms"
    rate = "-" if row.bytes_per_second is None else f"{row.bytes_per_second / 1000:.1f}k"
    return [
        line(("▸" if row.is_current else "", "accent")),
        line((row.name, "strong" if row.is_current else "plain")),
        line((row.via, "dim")),
        line((word, tone)),
        line(("operate" if row.may_act else "read-only", "warn" if row.may_act else "dim")),
        line((row.version or "-", "plain" if row.version else "dim")),
        line((ping, "dim")),
        line(row.run or ("-", "dim")),
        line((rate, "dim")),
    ]


def step_lines(steps: Sequence[Step], trouble: str, width: int, *, is_checking: bool, is_here: bool) -> list[Line]:
    """The check: a line a step, the fix below the one that failed, the steps behind it in one line."""
    if is_here:
        return [line(("a run of this machine: nothing is between it and the console", "dim"))]
    if is_checking and not steps:
        return [line(("checking: name, port, host key, login, command, run, ...", "dim"))]
    if not steps:
        told = [line((text, "warn")) for text in wrap(trouble, max(20, width))]
        return [*told, line(("c", "key"), (" checks the way step by step", "dim"))]
    lines: list[Line] = []
    for step in steps:
        if step.outcome == "skip":
            continue
        word, tone = _OUTCOMES[step.outcome]
        text: Tone = "strong" if step.outcome == "fail" else "plain"
        lines.append(line((f"{step.number:>2} ", "dim"), (word, tone), f"  {step.name:<9} ", (step.sentence, text)))
        for number, part in enumerate(wrap(step.fix, max(20, width - _INDENT - 5))):
            lines.append(line(" " * _INDENT, ("fix: " if number == 0 else "     ", "accent"), part))
    skipped = [step for step in steps if step.outcome == "skip"]
    if skipped:
        names = ", ".join(step.name for step in skipped)
        lines.append(line((f"{skipped[0].number:>2} skip  not reached: {names}", "dim")))
    return lines


def transcript_lines(said: Sequence[str], height: int, width: int) -> list[Line]:
    """The newest lines that fit, whole, over as many rows as each takes: the commands stand out."""
    rows: list[Line] = []
    for text in said:
        tone: Tone = "accent" if text.startswith("$ ") else "plain"
        parts = wrap(text, max(20, width), subsequent_indent="  ", break_on_hyphens=False) or [""]
        rows += [line((part, tone)) for part in parts]
    return rows[-max(1, height) :]
