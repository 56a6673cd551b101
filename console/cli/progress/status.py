"""The figures of a running run, most important first, for one line of any width. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from console.state.figures import columns, count, duration
from runtime.events import RunState
from runtime.events.pace import efficiency, remaining_seconds, smoothed_loss, tokens_per_second

_BAR_COLUMNS = 20


@dataclass(frozen=True)
class Part:
    """One figure of the line; where there is no room, the least important ones go first."""

    text: str
    importance: int


def parts_of(state: RunState) -> list[Part]:
    """The figures, in their order on the line."""
    plan = state.plan
    if plan is None:
        return [Part("starting", 9)]
    workers = Part(f"workers {len(state.members)}/{plan.workers}", 5)
    restarts = Part(f"restarts {state.restarts}", 3)
    if state.training.last is None:
        return [Part("starting" if not state.stopping else "stopping", 9), workers, restarts]
    step = state.training.step
    loss = smoothed_loss(state)
    useful = efficiency(state)
    parts = [
        Part(f"step {step}/{plan.last_step}", 9),
        Part("loss ?" if loss is None else f"loss {loss:.4f}", 7),
        Part(f"{count(tokens_per_second(state))} tok/s", 6),
    ]
    if useful is not None:
        parts.append(Part(f"useful {useful:.0%}", 2))
    if state.outcome is not None:
        return [*parts, restarts]
    if step < plan.last_step:
        parts.append(Part(f"eta {_whole_seconds(remaining_seconds(state))}", 4))
    word = [Part(state.status, 8)] if state.status in {"stopping", "pausing", "paused"} else []
    return [*word, *parts, workers, restarts]


def line_of_width(state: RunState, width: int) -> str:
    """As many figures as fit into `width` columns, and a bar where there is much room."""
    parts = parts_of(state)
    while len(parts) > 1 and columns(_joined(parts)) > width:
        parts.remove(min(parts, key=lambda part: part.importance))
    text = _joined(parts)
    bar = _bar(state)
    return f"{bar} {text}" if bar and len(bar) + 1 + columns(text) <= width else text[:width]


def _joined(parts: list[Part]) -> str:
    return "  ".join(part.text for part in parts)


def _bar(state: RunState) -> str:
    if state.plan is None or state.plan.last_step < 1 or state.training.last is None:
        return ""
    done = min(_BAR_COLUMNS, max(0, _BAR_COLUMNS * state.training.step // state.plan.last_step))
    return f"[{'#' * done}{'-' * (_BAR_COLUMNS - done)}]"


def _whole_seconds(seconds: float | None) -> str:
    """An expectation has no tenths: `9 s`, never `8.7 s` or `870 ms`."""
    if seconds is None or not 0 <= seconds < 9.5:
        return duration(None if seconds is None else max(10.0, seconds))
    return f"{seconds:.0f} s"
