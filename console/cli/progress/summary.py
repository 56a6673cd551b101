"""The last word of a headless run, for stdout: how it ended, how good the model is, where everything lies, what next.

Pure: the same state gives the same text, so that a finished run can be summed up again from its journal.
"""

from __future__ import annotations

from pathlib import Path

from console.state.figures import clean, count, duration, harmless, padded, shortened, size, some
from runtime.events import RunState, SampleGenerated
from runtime.events.curve import Bucket
from runtime.events.pace import efficiency, tokens_per_second

_LABEL_COLUMNS = 15
_MOST_SAMPLES = 8
_CURVE_POINTS = 6
_WORDS = {
    "done": "done",
    "stopped": "stopped by request",
    "failed": "failed",
    "gave_up": "gave up",
    None: "interrupted",
}


def summary_of(state: RunState, folder: Path, *, columns: int = 100) -> str:
    """The text, without a newline at its end; `folder` is the run's, as the user would type it."""
    lines = [_headline(state)]
    for label, text in (
        ("reason", clean(state.outcome.reason) if state.outcome else ""),
        ("loss", _loss(state)),
        ("loss curve", _curve(state)),
        ("held-out loss", _held_out(state)),
        ("scores", _scores(state)),
        ("tokens", _tokens(state)),
        ("memory", _memory(state)),
        ("survived", _survived(state)),
        ("checkpoints", _checkpoints(state, folder)),
        ("journal", f"{folder / 'events.jsonl'}; logs in {folder / 'logs'}"),
    ):
        if text:
            lines.append(f"  {label:<{_LABEL_COLUMNS}}{text}")
    lines += _samples(state, max(60, columns))
    lines += _troubles(state)
    lines += _next_move(state)
    return "\n".join(harmless(line) for line in lines)


def _headline(state: RunState) -> str:
    name = state.plan.name if state.plan else "?"
    outcome = state.outcome.outcome if state.outcome else None
    seconds = state.outcome.seconds if state.outcome else state.wall_seconds - state.started_seconds
    last = f"/{state.plan.last_step}" if state.plan and outcome != "done" else ""
    sessions = f", session {state.sessions}" if state.sessions > 1 else ""
    return f"run {name}: {_WORDS[outcome]} at step {state.training.step}{last} after {duration(seconds)}{sessions}"


def _loss(state: RunState) -> str:
    first, last = state.training.first, state.training.last
    if first is None or last is None:
        return ""
    return f"{first.loss:.4f} (step {first.step}) -> {last.loss:.4f} (step {last.step})"


def _curve(state: RunState) -> str:
    """A few points of the loss, evenly spread; empty where there are too few to make a curve."""
    buckets = list(state.training.loss)
    if len(buckets) < _CURVE_POINTS:
        return ""
    chosen: list[Bucket] = [
        buckets[index * (len(buckets) - 1) // (_CURVE_POINTS - 1)] for index in range(_CURVE_POINTS)
    ]
    return "  ".join(f"{bucket.mean:.3f}@{bucket.step}" for bucket in chosen)


def _held_out(state: RunState) -> str:
    """For each split: the first evaluation of all and the last one."""
    training = state.training
    last = {evaluation.split: evaluation for evaluation in training.evaluations}
    texts = []
    for split, first in training.first_evaluations.items():
        newest = last.get(split, first)
        label = "" if len(training.first_evaluations) == 1 else f"{clean(split)} "
        accuracy = f"{first.token_accuracy:.1%} -> {newest.token_accuracy:.1%} of tokens right"
        texts.append(f"{label}{first.loss:.4f} -> {newest.loss:.4f} ({accuracy})")
    return "; ".join(texts)


def _scores(state: RunState) -> str:
    """For each score of each split: the first one of all and the last one."""
    first: dict[tuple[str, str], float] = {}
    last: dict[tuple[str, str], float] = {}
    for evaluation in (*state.training.first_evaluations.values(), *state.training.evaluations):
        for name, value in evaluation.metrics:
            if "/" not in name:
                last[evaluation.split, name] = value
                first.setdefault((evaluation.split, name), value)
    several = len({split for split, _ in first}) > 1
    return ", ".join(
        f"{clean(split) + ' ' if several else ''}{name} {value:.4g} -> {last[split, name]:.4g}"
        for (split, name), value in first.items()
    )


def _tokens(state: RunState) -> str:
    if state.training.last is None:
        return ""
    useful = efficiency(state)
    rows = "" if useful is None else f"; {useful:.1%} of the computed positions were of use"
    return f"{count(state.training.tokens)} trained, {count(tokens_per_second(state))} tok/s at the end{rows}"


def _memory(state: RunState) -> str:
    """The fullest device against its plan, and when the last shape was met (compiled, where steps are)."""
    if not state.devices:
        return ""
    fullest = max(state.devices.values(), key=lambda device: device.peak_bytes)
    planned = f"planned {size(fullest.planned_bytes)}, " if fullest.planned_bytes else ""
    of_worker = f" (worker {fullest.rank})" if len(state.devices) > 1 else ""
    shapes = max(device.shapes for device in state.devices.values())
    settled = max(device.settled_step for device in state.devices.values())
    kind = "compiled shape" if any(device.compiled for device in state.devices.values()) else "shape"
    since = f"; {some(shapes, kind)}, none new after step {settled}" if shapes else ""
    return f"{planned}peak {size(fullest.peak_bytes)}{of_worker}{since}"


def _survived(state: RunState) -> str:
    """The faults that the run went on after; empty for a quiet run."""
    parts = [
        (state.workers_lost, "lost worker", "lost workers"),
        (state.restarts, "crash", "crashes"),
        (state.training.aborted, "repeated step", "repeated steps"),
        (state.training.skipped, "skipped step", "skipped steps"),
        (state.sessions - 1, "interruption", "interruptions"),
    ]
    said = [some(*part) for part in parts if part[0] > 0]
    return ", ".join(said)


def _checkpoints(state: RunState, folder: Path) -> str:
    if not state.checkpoints:
        return ""
    return f"{folder / 'checkpoints'} (newest: {Path(state.checkpoints[-1].path).name})"


def _samples(state: RunState, columns: int) -> list[str]:
    """Held-out prompts with the answers of the first and of the newest model."""
    before = {sample.prompt: sample for sample in state.training.samples_before}
    after: dict[str, SampleGenerated] = {sample.prompt: sample for sample in state.training.samples_after}
    shown = after or before
    if not shown:
        return []
    wide = (columns - 2 - 3 * 2) // 10
    widths = (wide * 4, wide * 2, wide * 2, wide * 2)
    rows = [("prompt", "expected", "before", "after")]
    for prompt, sample in list(shown.items())[:_MOST_SAMPLES]:
        first, last = before.get(prompt), after.get(prompt)
        rows.append((prompt, sample.expected, first.answer if first else "-", last.answer if last else "-"))
    return ["", *("  " + _row(row, widths) for row in rows)]


def _row(cells: tuple[str, ...], widths: tuple[int, ...]) -> str:
    return "  ".join(padded(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _troubles(state: RunState) -> list[str]:
    """Alarms that nothing mended, the worst first."""
    open_alarms = [alarm for alarm in state.alarms.values() if not alarm.mended and alarm.key != "run"]
    open_alarms.sort(key=lambda alarm: alarm.severity != "critical")
    lines = []
    for alarm in open_alarms[:_MOST_SAMPLES]:
        fix = f"; {shortened(alarm.fix, 200)}" if alarm.fix else ""
        lines.append(f"  {alarm.severity}: {clean(alarm.place)}: {shortened(alarm.cause, 200)}{fix}")
    return ["", *lines] if lines else []


def _next_move(state: RunState) -> list[str]:
    """What to type to go on with a run that is not done."""
    if state.plan is None or not state.plan.command or (state.outcome and state.outcome.outcome == "done"):
        return []
    begin = "when that is mended, go on" if state.outcome and state.outcome.outcome != "stopped" else "go on"
    return ["", f"  {begin} with: {state.plan.command}"]
