"""From what is known of a run to charts: which metrics there are, and each one's curves, marks and figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from console.state.chart import Chart, Mark, Trace, nearest
from console.state.figures import clean, count, duration
from console.state.scale import label
from console.state.series import BY_STEP, Extent, Point, Track, extent, points_of, smoothed, track_of, zoomed
from console.state.spans import Line, Tone, line
from runtime.events.curve import Bucket
from runtime.view.cards import MarkCard, RunView

T = TypeVar("T")
AXES = "axis/"
"""Curves of this name are horizontal axes, and no charts."""
Axis: TypeAlias = Literal["step", "tokens", "time"]
AXIS_CURVES: Mapping[Axis, str] = {"tokens": "axis/tokens", "time": "axis/seconds"}
FIRST = ("loss", "learning_rate", "tokens_per_second", "grad_norm")
_TITLES = {"learning_rate": "learning rate", "tokens_per_second": "tokens/s", "grad_norm": "gradient norm"}
_MARKS: dict[str, tuple[str, Tone]] = {
    "lost": ("✗", "bad"), "rollback": ("←", "bad"), "skipped": ("!", "warn"), "clipped": ("^", "dim"),
    "joined": ("↻", "accent"), "resumed": ("▸", "accent"), "checkpoint": ("◆", "good"), "evaluation": ("•", "dim"),
}  # fmt: skip


class Known(NamedTuple):
    """A curve as it was heard."""

    width: int
    buckets: tuple[Bucket, ...]


Curves: TypeAlias = Mapping[str, Known]


@dataclass(frozen=True)
class Source:
    """A run's curves and what happened in it."""

    curves: Curves = field(default_factory=dict)
    marks: tuple[MarkCard, ...] = ()
    name: str = ""
    planned: int = 0
    """Its last step, as planned; 0 where that is not known."""
    named: tuple[str, ...] = ()
    """Metrics that the run has and that were perhaps not heard yet."""

    memory: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out of the curves, which never change: charts and figures ask for the same."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """All of them, heard or not."""
        return tuple(dict.fromkeys((*self.curves, *self.named)))

    def track(self, axis: Axis) -> Track:
        """What a step is on that axis; steps where the run has no such curve."""
        return self._once(("track", axis), lambda: self._track(axis))

    def points(self, metric: str, axis: Axis = "step") -> list[Point]:
        """The curve by an axis; empty where there is none."""
        return self._once(("points", metric, axis), lambda: self._points(metric, axis))

    def smoothed(self, metric: str, axis: Axis, decay: float) -> list[Point]:
        """The same, smoothed."""
        return self._once(("smoothed", metric, axis, decay), lambda: smoothed(self.points(metric, axis), decay))

    def _once(self, key: Any, work: Callable[[], T]) -> T:
        if key not in self.memory:
            self.memory[key] = work()
        found: T = self.memory[key]
        return found

    def _track(self, axis: Axis) -> Track:
        known = self.curves.get(AXIS_CURVES.get(axis, ""))
        if known is None or not known.buckets:
            return BY_STEP
        origin = known.buckets[0].first if axis == "time" else 0.0
        return track_of(known.buckets, origin=origin)

    def _points(self, metric: str, axis: Axis) -> list[Point]:
        known = self.curves.get(metric)
        return points_of(known.buckets, known.width, self.track(axis)) if known is not None else []


def source_of(curves: Mapping[str, object], view: RunView, name: str = "", named: tuple[str, ...] = ()) -> Source:
    """What a picture knows (its HeardCurves by name), in the form that is drawn."""
    known = {
        metric: Known(getattr(curve, "width", 1), tuple(getattr(curve, "buckets", {}).values()))
        for metric, curve in curves.items()
    }
    return Source(known, tuple(view.marks.values()), name or view.run.name, view.run.last_step, named)


def metrics_of(curves: Iterable[str], pattern: str = "") -> tuple[str, ...]:
    """The metrics that can be drawn: those of steps first, then scores by name; only those with `pattern` in them.

    `!` in front of the pattern turns it around.
    """
    names = [name for name in curves if not name.startswith(AXES)]
    wanted, turned = pattern.removeprefix("!").lower(), pattern.startswith("!")
    if wanted:
        names = [name for name in names if (wanted in f"{name} {title_of(name)}".lower()) != turned]
    rank = {name: place for place, name in enumerate(FIRST)}
    return tuple(sorted(names, key=lambda name: (rank.get(name, len(FIRST)), not name.endswith("/loss"), name)))


def title_of(metric: str) -> str:
    """The name as a person reads it."""
    return _TITLES.get(metric, metric.replace("_", " "))


@dataclass(frozen=True)
class Look:
    """How curves are looked at."""

    axis: Axis = "step"
    decay: float = 0.9
    halvings: int = 0
    """How often the horizontal axis was halved."""
    centre: float | None = None
    """Where it was halved; the end where nothing was said."""
    cursor: float | None = None
    logs: frozenset[str] = frozenset()
    """Metrics on a logarithmic axis."""


def shown_of(source: Source, look: Look, dots: int) -> Extent:
    """The horizontal axis that all charts share."""
    track = source.track(look.axis)
    newest = max((known.buckets[-1].step for known in source.curves.values() if known.buckets), default=0)
    whole = extent(track.at(newest), dots, planned=source.planned if look.axis == "step" else 0.0)
    return zoomed(whole, dots, halvings=look.halvings, centre=track.at(newest) if look.centre is None else look.centre)


def is_smoothed(metric: str) -> bool:
    """Scores of evaluations are few, and a learning rate is no measurement: neither is smoothed."""
    return "/" not in metric and metric != "learning_rate"


def chart_of(
    metric: str, source: Source, look: Look, shown: Extent, baseline: Source | None = None, *, is_chosen: bool = False
) -> Chart:
    """The chart of one metric: the baseline below, then every value, then the smoothed curve on top."""
    track = source.track(look.axis)
    points = source.points(metric, look.axis)
    traces = []
    if baseline is not None:
        decay = look.decay if is_smoothed(metric) else 0.0
        traces.append(Trace(baseline.smoothed(metric, look.axis, decay), "plain", dotted=True))
    if look.decay and is_smoothed(metric):
        traces += [Trace(points, "dim"), Trace(source.smoothed(metric, look.axis, look.decay))]
    else:
        traces.append(Trace(points))
    return Chart(
        title_of(metric),
        shown,
        tuple(traces),
        marks_of(source, track),
        value=figure(metric, points[-1].last) if points else "",
        is_log=metric in look.logs,
        is_chosen=is_chosen,
        cursor=look.cursor,
        unit="s" if look.axis == "time" else "",
    )


def mark_lines(source: Source, most: int) -> list[Line]:
    """The newest things that happened, newest first: what the letters on the axis mean."""
    said = [(card.step, card) for card in source.marks]
    newest = [card for _, card in sorted(said, key=lambda pair: pair[0], reverse=True)][:most]
    width = max((len(str(card.step)) for card in newest), default=0)
    return [_mark_line(card, width) for card in newest]


def _mark_line(card: MarkCard, width: int) -> Line:
    letter, tone = _MARKS.get(card.kind, ("•", "dim"))
    text = card.text.rpartition("/")[2] if card.kind == "checkpoint" else card.text
    return line((f"{letter} ", tone), (f"{card.step:>{width}}  ", "dim"), card.kind, (f"  {clean(text)}", "dim"))


def marks_of(source: Source, track: Track = BY_STEP) -> tuple[Mark, ...]:
    """What happened, and when the run was evaluated; trouble last, so that nothing covers it."""
    found = [Mark(track.at(card.step), card.kind, *_MARKS.get(card.kind, ("•", "dim"))) for card in source.marks]
    steps = {bucket.step for name, known in source.curves.items() if "/" in name and not name.startswith(AXES)
             for bucket in known.buckets}  # fmt: skip
    found += [Mark(track.at(step), "evaluation", *_MARKS["evaluation"]) for step in sorted(steps)]
    return tuple(sorted(found, key=lambda mark: [*reversed(_MARKS)].index(mark.kind) if mark.kind in _MARKS else -1))


class Figures(NamedTuple):
    """One metric in numbers."""

    metric: str
    here: float | None
    """The newest value; where there is a cursor, the one nearest to it."""
    smooth: float | None
    best: Point | None
    """The lowest value; the highest where more is better."""
    against: float | None
    """`here` minus the baseline's value at the same place."""


def figures_of(metric: str, source: Source, look: Look, baseline: Source | None = None) -> Figures:
    """The numbers that stand beside a chart."""
    points = source.points(metric, look.axis)
    if not points:
        return Figures(metric, None, None, None, None)
    at = points[-1].x if look.cursor is None else look.cursor
    here = nearest(points, at)
    smooth = None
    if look.decay and is_smoothed(metric):
        smooth = nearest(source.smoothed(metric, look.axis, look.decay), at)
    best = None
    if metric != "learning_rate":
        extreme = max if more_is_better(metric) else min
        best = extreme(points, key=lambda point: point.high if extreme is max else point.low)
    against = None
    if baseline is not None and here is not None:
        other = nearest(baseline.points(metric, look.axis), at)
        against = None if other is None else here.last - other.last
    return Figures(metric, here.last if here else None, smooth.mean if smooth else None, best, against)


def more_is_better(metric: str) -> bool:
    """Losses and norms should be small; speeds and scores should be large."""
    return not any(word in metric for word in ("loss", "perplexity", "grad_norm", "learning_rate"))


def figure(metric: str, value: float | None) -> str:
    """A value of this metric as a person reads it."""
    if value is None or not math.isfinite(value):
        return "?"
    if metric == "tokens_per_second":
        return count(value)
    if metric == "learning_rate" or (value and abs(value) < 1e-3):
        return label(value)
    return f"{value:.4f}" if abs(value) < 100 else label(value)


def place(x: float, axis: Axis) -> str:
    """A place of the horizontal axis in words."""
    if axis == "step":
        return f"step {x:.0f}"
    return duration(x) if axis == "time" else f"{count(x)} tokens"
