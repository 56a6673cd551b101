"""The title line and the tab line. Pure."""

from __future__ import annotations

import os.path

from console.state.figures import duration, some
from console.state.spans import Line, Span, Tone, between, cut, joined, line, width_of
from console.state.tabs import Tab
from runtime.view.cards import RunCard

_GAP = Span("   ")
_TONES: dict[str, Tone] = {
    "running": "good", "starting": "accent", "stopping": "warn", "done": "good", "failed": "bad", "gave_up": "bad",
    "stopped": "warn",
}  # fmt: skip
_MOST_NAME = 28


def title_line(run: RunCard, said: Line, width: int, *, place: str) -> Line:
    """Run, state, workers and step at the left; at the right whether it may be believed (`said`)."""
    name = os.path.basename(run.name or place) or place
    status = run.status.replace("_", " ").upper() if run.status != "idle" else ""
    step = f"{run.step}/{run.last_step}" if run.last_step else ""
    workers = f"{len(run.members)}/{run.workers}" if run.workers and not run.outcome else ""
    fewer = bool(workers) and len(run.members) < run.workers
    parts = [
        cut(line((name, "strong")), _MOST_NAME),
        line((status, _TONES.get(run.status, "plain"))),
        line(("workers ", "dim"), (workers, "warn" if fewer else "plain")) if workers else (),
        line(("step ", "dim"), step) if step else (),
    ]
    brand = line((" mlx-distributed", "accent"))
    whole = joined([brand, *parts], _GAP)
    left = whole if width_of(whole) + width_of(said) + 2 <= width else (Span(" "), *joined(parts, Span("  ")))
    return between(left, (*said, Span(" ")), width)


def liveness_line(
    liveness: str,
    age_seconds: float | None,
    trouble: str,
    *,
    is_over: bool,
    frozen: bool,
    replaying: bool = False,
    read_share: float | None = None,
) -> Line:
    """LIVE; STALE with its age; REPLAY; what a reader may believe. An age is told only where it is bad news.

    `read_share`: how much of a long journal was read so far, and is not shown yet.
    """
    if frozen:
        return line(("FROZEN", "warn"), (" Space goes on", "dim"))
    if read_share is not None:
        return line(("○ ", "dim"), (f"reading the journal, {100 * read_share:.0f}%", "accent"))
    if replaying:
        return line(("◆ ", "accent"), ("REPLAY", "accent"))
    if liveness == "live":
        return line(("● ", "good"), ("LIVE", "good"))
    if liveness == "stale":
        return line(("▲ ", "bad"), (f"STALE {duration(float(int(age_seconds or 0)))}", "bad"))
    if liveness == "replay":
        return line(("◆ ", "accent"), ("ENDED" if is_over else "NOT RUNNING", "accent" if is_over else "warn"))
    return line(("○ ", "dim"), ("no connection" if trouble else "connecting", "warn" if trouble else "dim"))


def tab_line(tabs: tuple[Tab, ...], current: str, fact: Line, width: int) -> Line:
    """The screens by number, the current one marked by more than colour; a fact of the screen at the right."""
    parts = [Span(" ")]
    for tab in tabs:
        here = tab.name == current
        parts += line((f"[{tab.key} {tab.title}]" if here else f" {tab.key} {tab.title} ", "accent" if here else "dim"))
    whole = tuple(parts)
    if width_of(whole) + width_of(fact) + 2 > width:
        short = [f"[{tab.key} {tab.title}]" if tab.name == current else f" {tab.key} " for tab in tabs]
        whole = line(" ", *((text, "accent" if "[" in text else "dim") for text in short))
    if width_of(whole) + width_of(fact) + 2 > width:
        return cut(whole, width)  # where one is, before anything about it
    return between(whole, (*fact, Span(" ")), width)


def time_left(run: RunCard) -> Line:
    """`ETA 52m`, with how sure that is left to the Run screen."""
    if run.remaining_seconds is None or run.outcome:
        return ()
    return line(("ETA ", "dim"), duration(run.remaining_seconds))


def alarms_line(critical: int, warnings: int) -> Line:
    """How many alarms nobody has seen."""
    if critical:
        return line((f"▲ {critical} critical", "bad"))
    return line((f"▲ {some(warnings, 'warning')}", "warn")) if warnings else ()
