"""What a report draws, taken from a run's state. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runtime.events import RunState
from runtime.events.curve import Curve

Style: TypeAlias = Literal["raw", "smooth", "points"]
SPLIT_LOSS, TRAINING, SMOOTHED = "held-out", "training", "smoothed"
_SMOOTHED_SHARE = 0.03
"""Of a curve's points that a smoothed one averages over, roughly."""
_TROUBLE = {"lost", "rollback", "skipped"}


@dataclass(frozen=True)
class Line:
    """Points of one kind, by step."""

    name: str
    points: tuple[tuple[float, float], ...]
    style: Style


@dataclass(frozen=True)
class Event:
    """Something that happened at a step."""

    step: int
    kind: str
    text: str

    @property
    def is_trouble(self) -> bool:
        """Whether it is drawn as a warning."""
        return self.kind in _TROUBLE


@dataclass(frozen=True)
class Chart:
    """One chart."""

    title: str
    lines: tuple[Line, ...]
    marks: tuple[Event, ...] = ()
    from_zero: bool = False
    """The axis begins at 0: twice as high is twice as much."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.points for line in self.lines)


def charts_of(state: RunState) -> tuple[Chart, ...]:
    """Loss, scores where there are any, learning rate, speed and gradient norm; the loss first."""
    training, marks = state.training, marks_of(state)
    loss = points_of(training.loss)
    held_out = tuple((float(one.step), one.loss) for one in training.evaluations)
    lines = (
        Line(TRAINING, loss, "raw"),
        Line(SMOOTHED, smoothed(loss), "smooth"),
        Line(SPLIT_LOSS, held_out, "points"),
    )
    speed = points_of(training.tokens_per_second)
    norm = points_of(training.grad_norm)
    found = (
        Chart("loss (nats per token)", lines, marks),
        scores_of(state),
        Chart("learning rate", (Line("learning rate", points_of(training.learning_rate), "smooth"),), from_zero=True),
        Chart("trained tokens per second", _both(speed), from_zero=True),
        Chart("gradient norm", _both(norm), from_zero=True),
    )
    return tuple(chart for chart in found if not chart.is_empty)


def _both(points: tuple[tuple[float, float], ...]) -> tuple[Line, ...]:
    return Line("a step", points, "raw"), Line(SMOOTHED, smoothed(points), "smooth")


def scores_of(state: RunState) -> Chart:
    """Shares between 0 and 1 that evaluations measured: right tokens, and the scores of answers, without those that say
    the same more loosely or strictly (`instruction_following/prompt_loose`): the page has a table of all."""
    names: dict[str, list[tuple[float, float]]] = {}
    for one in state.training.evaluations:
        names.setdefault("right tokens", []).append((float(one.step), one.token_accuracy))
        for name, value in one.metrics:
            if name != "perplexity" and "/" not in name and 0 <= value <= 1:
                names.setdefault(name.replace("_", " "), []).append((float(one.step), value))
    return Chart("held-out scores", tuple(Line(name, tuple(points), "points") for name, points in names.items()))


def points_of(curve: Curve) -> tuple[tuple[float, float], ...]:
    """(step, mean) of each of its buckets."""
    return tuple((float(bucket.step), bucket.mean) for bucket in curve)


def smoothed(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """A mean over neighbours on both sides, fewer of them at the ends: it neither lags nor invents."""
    reach = max(1, round(len(points) * _SMOOTHED_SHARE))
    sums = [0.0]
    for _, value in points:
        sums.append(sums[-1] + value)
    found = []
    for at, (step, _) in enumerate(points):
        wide = min(reach, at, len(points) - 1 - at)
        found.append((step, (sums[at + wide + 1] - sums[at - wide]) / (2 * wide + 1)))
    return tuple(found)


def marks_of(state: RunState) -> tuple[Event, ...]:
    """What happened when; a worker that comes back is part of having been lost."""
    return tuple(Event(mark.step, mark.kind, mark.text) for mark in state.marks if mark.kind != "joined")
