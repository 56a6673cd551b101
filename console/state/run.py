"""What the Run screen shows: which charts, how they lie, and the lines around them. Pure.

A Choice is what the user has chosen; every key gives another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, get_args

from console.state.braille import Alphabet
from console.state.chart import GUTTER, lines_of
from console.state.figures import count, duration, shortened
from console.state.series import DECAYS, Extent
from console.state.spans import EMPTY, Column, Line, Span, Tone, joined, line, padded, table, width_of
from console.state.traces import (
    Axis,
    Figures,
    Look,
    Source,
    chart_of,
    figure,
    figures_of,
    is_smoothed,
    mark_lines,
    metrics_of,
    more_is_better,
    place,
    shown_of,
    title_of,
)
from runtime.view.cards import RunCard

GRIDS = ((2, 2), (2, 3), (1, 1), (1, 2))
"""Columns and rows of charts, in the order in which `g` goes through them."""
LEAST_ROWS, LEAST_COLUMNS = 5, 34
"""Of one chart; a smaller screen shows fewer of them."""
MOST_HALVINGS = 12
NUMBERS, WITH_MARKS, _GAP = 58, 88, 4
"""Columns of the figures where marks stand beside them, and of a screen where they do."""


@dataclass(frozen=True)
class Choice:
    """What the user has chosen."""

    look: Look = field(default_factory=Look)
    chosen: int = 0
    """Number of the metric that keys are about."""
    grid: int = 0
    is_single: bool = False
    """The chosen chart fills the screen."""
    pattern: str = ""


class Charts(NamedTuple):
    """The charts of one screen."""

    metrics: tuple[str, ...]
    """All that there are."""
    visible: tuple[str, ...]
    page: int
    pages: int
    each: int
    """Charts of a full page."""
    shown: Extent
    lines: list[Line]


def layout(choice: Choice, width: int, height: int) -> tuple[int, int]:
    """Columns and rows of charts that fit."""
    columns, rows = (1, 1) if choice.is_single else GRIDS[choice.grid % len(GRIDS)]
    return max(1, min(columns, width // LEAST_COLUMNS)), max(1, min(rows, height // LEAST_ROWS))


def dots_of(choice: Choice, width: int, height: int, alphabet: Alphabet) -> int:
    """Columns of dots in each chart."""
    columns, _ = layout(choice, width, height)
    return max(1, (width - (columns - 1)) // columns - GUTTER) * alphabet.columns


def charts_of(
    source: Source, choice: Choice, width: int, height: int, alphabet: Alphabet, baseline: Source | None = None
) -> Charts:
    """The page of charts that holds the chosen metric, as exactly `height` lines."""
    metrics = metrics_of(source.metrics, choice.pattern)
    columns, rows = layout(choice, width, height)
    chosen = min(choice.chosen, max(0, len(metrics) - 1))
    page, pages = chosen // (columns * rows), max(1, -(-len(metrics) // (columns * rows)))
    visible = metrics[page * columns * rows : (page + 1) * columns * rows]
    shown = shown_of(source, choice.look, dots_of(choice, width, height, alphabet))
    wide, tall = (width - (columns - 1)) // columns, height // rows
    lines: list[Line] = []
    for row in range(rows):
        own = height - tall * (rows - 1) if row == rows - 1 else tall
        blocks = []
        for metric in visible[row * columns : (row + 1) * columns]:
            is_chosen = len(metrics) > 1 and metric == metrics[chosen]
            chart = chart_of(metric, source, choice.look, shown, baseline, is_chosen=is_chosen)
            blocks.append(lines_of(chart, wide, own, alphabet))
        lines += beside(blocks, wide, own)
    if not metrics:
        lines[height // 2] = line((_nothing(choice).center(width), "dim"))
    return Charts(metrics, visible, page, pages, columns * rows, shown, lines)


def beside(blocks: Sequence[Sequence[Line]], width: int, height: int) -> list[Line]:
    """Blocks of lines next to each other, a space between them."""
    if not blocks:
        return [EMPTY] * height
    lines = []
    for row in range(height):
        whole: list[Span] = []
        for number, block in enumerate(blocks):
            whole += [*([Span(" ")] if number else []), *padded(block[row], width)]
        lines.append(tuple(whole))
    return lines


def _nothing(choice: Choice) -> str:
    return f"no metric has {choice.pattern} in its name" if choice.pattern else "no step has been made yet"


def status_line(run: RunCard, width: int) -> Line:
    """How far it is, how long that takes, and where a step's time goes: as many of these as fit."""
    parts = [progress(run, 12)]
    if run.outcome:
        parts.append(line((run.outcome.replace("_", " "), "good" if run.outcome == "done" else "warn")))
    elif run.remaining_seconds:
        parts.append(eta(run))
    if run.step_seconds:
        parts.append(split(run))
    if run.tokens:
        parts.append(line(count(run.tokens), (" tokens", "dim")))
    separator = Span("   ")
    while len(parts) > 1 and width_of(joined(parts, separator)) > width:
        parts.pop()
    return joined(parts, separator)


def progress(run: RunCard, cells: int) -> Line:
    """A bar with the share of steps that are done."""
    if not run.last_step:
        return line(("step ", "dim"), str(run.step))
    share = min(1.0, run.step / run.last_step)
    full = round(share * cells)
    return line(("━" * full, "good"), ("─" * (cells - full), "dim"), f" {100 * share:.0f}%")


def eta(run: RunCard) -> Line:
    """The expected time to the end, and between which times it lies with 95 %."""
    low, high = run.remaining_low_seconds, run.remaining_high_seconds
    between = f" ({duration(low)} to {duration(high)})" if low is not None and high is not None else ""
    return line(("ETA ", "dim"), duration(run.remaining_seconds), (between, "dim"))


def split(run: RunCard) -> Line:
    """`step 0.86 s  compute 80%  exchange 16%  feed 1%`; what is left is waiting and the protocol."""
    whole = run.step_seconds or 0.0
    parts: list[tuple[str, Tone] | str] = [("step ", "dim"), duration(whole)]
    for name, seconds in (
        ("compute", run.compute_seconds),
        ("exchange", run.exchange_seconds),
        ("feed", run.feed_seconds),
    ):
        if seconds is not None and whole > 0:
            parts += [(f"  {name} ", "dim"), f"{100 * seconds / whole:.0f}%"]
    return line(*parts)


def readout(
    charts: Charts, source: Source, choice: Choice, baseline: Source | None, width: int, most: int
) -> list[Line]:
    """The visible metrics in numbers, one line for each; at the right, where there is room, what happened last."""
    happened = mark_lines(source, most)
    side = [line(("what happened last", "dim")), *happened] if happened and width >= WITH_MARKS else []
    own = min(width, NUMBERS) if side else width
    heads = [
        Column("metric", most=26),
        Column("at cursor" if choice.look.cursor is not None else "last", is_right=True),
        Column(f"ema {choice.look.decay:g}" if choice.look.decay else "", is_right=True, weight=3),
        Column("best", is_right=True, weight=1 if baseline else 0),
        Column(f"vs {shortened(baseline.name, 14)}" if baseline else "", is_right=True, weight=0 if baseline else 9),
    ]
    rows = [_row(figures_of(name, source, choice.look, baseline), choice) for name in charts.visible]
    numbers = table(heads, rows, own)[: most + 1]
    own = min(own, max(map(width_of, numbers)) + _GAP) if side else own
    return beside_marks(numbers, side[: most + 1], own) if side else numbers


def beside_marks(numbers: Sequence[Line], marks: Sequence[Line], width: int) -> list[Line]:
    """Two columns of lines."""
    rows = max(len(numbers), len(marks))
    left = [*numbers, *[EMPTY] * (rows - len(numbers))]
    right = [*marks, *[EMPTY] * (rows - len(marks))]
    return [(*padded(one, width), Span("  "), *other) for one, other in zip(left, right, strict=True)]


def _row(numbers: Figures, choice: Choice) -> list[Line]:
    metric = numbers.metric
    best: Line = EMPTY
    if numbers.best is not None:
        at = place(numbers.best.x, choice.look.axis).removeprefix("step ")
        value = numbers.best.high if more_is_better(metric) else numbers.best.low
        best = line(figure(metric, value), (f" @{at}", "dim"))
    return [
        line(title_of(metric)),
        line((figure(metric, numbers.here), "strong")),
        line(figure(metric, numbers.smooth)) if is_smoothed(metric) and numbers.smooth is not None else EMPTY,
        best,
        _delta(numbers),
    ]


def _delta(numbers: Figures) -> Line:
    if numbers.against is None:
        return EMPTY
    if numbers.against == 0 or numbers.metric == "learning_rate":
        return line((f"{numbers.against:+.3g}", "dim"))
    good = (numbers.against > 0) == more_is_better(numbers.metric)
    return line((f"{numbers.against:+.3g} ", "plain"), ("better", "good") if good else ("worse", "warn"))


def fact(charts: Charts, choice: Choice) -> Line:
    """What stands at the right of the tab line."""
    look = choice.look
    parts = [f"by {look.axis}"] if look.axis != "step" else []
    parts.append(f"smooth {look.decay:g}")
    if look.halvings:
        parts.append(f"zoom {2**look.halvings}x")
    if look.cursor is not None:
        parts.append(f"at {place(look.cursor, look.axis)}")
    if choice.pattern:
        parts.append(f"/{choice.pattern}")
    if charts.pages > 1:
        parts.append(f"page {charts.page + 1}/{charts.pages}")
    return line(("  ".join(parts), "dim"))


def moved(choice: Choice, by: int, metrics: int) -> Choice:
    """Another chart; around at both ends."""
    return replace(choice, chosen=(choice.chosen + by) % metrics) if metrics else choice


def turned(choice: Choice, by: int, charts: Charts) -> Choice:
    """Another page of charts."""
    if charts.page + by not in range(charts.pages):
        return choice
    return replace(choice, chosen=min(len(charts.metrics) - 1, max(0, choice.chosen + by * charts.each)))


def smoother(choice: Choice, by: int = 1) -> Choice:
    """The next of the decays."""
    at = DECAYS.index(choice.look.decay)
    return _looking(choice, decay=DECAYS[(at + by) % len(DECAYS)])


def other_axis(choice: Choice) -> Choice:
    """Steps, tokens, time; a place on one is none on another."""
    axes: tuple[Axis, ...] = get_args(Axis)
    return _looking(choice, axis=axes[(axes.index(choice.look.axis) + 1) % 3], halvings=0, centre=None, cursor=None)


def other_scale(choice: Choice, metric: str) -> Choice:
    """Logarithmic or not, for this metric."""
    return _looking(choice, logs=choice.look.logs ^ {metric})


def inspecting(choice: Choice, shown: Extent) -> Choice:
    """The cursor comes to the middle of what is shown, or goes."""
    middle = (shown.start + shown.end) / 2
    return _looking(choice, cursor=middle if choice.look.cursor is None else None)


def cursor_moved(choice: Choice, by: int, shown: Extent, columns: int) -> Choice:
    """The cursor some columns of letters further; it stays within what is shown."""
    if choice.look.cursor is None:
        return choice
    wide = (shown.end - shown.start) / max(1, columns)
    return _looking(choice, cursor=min(max(choice.look.cursor + by * wide, shown.start), shown.end))


def closer(choice: Choice, by: int) -> Choice:
    """Half of the axis, around the cursor where there is one, else at its end; or twice as much again."""
    halvings = min(MOST_HALVINGS, max(0, choice.look.halvings + by))
    return _looking(choice, halvings=halvings, centre=choice.look.cursor if by > 0 else choice.look.centre)


def anew(choice: Choice) -> Choice:
    """All of the axis, and no cursor."""
    return replace(_looking(choice, halvings=0, centre=None, cursor=None), is_single=False)


def _looking(choice: Choice, **changes: Any) -> Choice:
    return replace(choice, look=replace(choice.look, **changes))
