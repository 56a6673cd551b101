"""The curves of a run by name, as buckets of 1, 2, 4, ... steps aligned to step 0. Pure.

loss, grad_norm, learning_rate, tokens_per_second      one value a step (runtime.events.curve: extremes are never lost)
axis/tokens, axis/seconds                              trained tokens and Unix time after each step: to draw others by
SPLIT/loss, SPLIT/token_accuracy, SPLIT/NAME           one value an evaluation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from runtime.events import RunState
from runtime.events.curve import Bucket, Curve, neighbours_merged

OF_STEPS = ("loss", "grad_norm", "learning_rate", "tokens_per_second")
OF_AXES = {"axis/tokens": "tokens_seen", "axis/seconds": "committed_seconds"}


class Piece(NamedTuple):
    """Part of a curve."""

    metric: str
    width: int
    """Steps in a bucket: a power of two."""
    buckets: tuple[Bucket, ...]


def names(state: RunState) -> tuple[str, ...]:
    """Every metric that the run has, those of steps first."""
    found = dict.fromkeys((*OF_STEPS, *OF_AXES) if state.training.committed else ())
    for evaluation in state.training.evaluations:
        for name in ("loss", "token_accuracy", *(name for name, _ in evaluation.metrics)):
            found[f"{evaluation.split}/{name}"] = None
    return tuple(found)


def chosen(state: RunState, globs: Iterable[str]) -> tuple[str, ...]:
    """The metrics whose name one of the patterns matches."""
    patterns = tuple(globs)
    return tuple(name for name in names(state) if any(fnmatchcase(name, pattern) for pattern in patterns))


def curve_of(state: RunState, metric: str) -> Curve:
    """The curve; empty for a metric that the run does not have."""
    training = state.training
    if metric in OF_STEPS or metric in OF_AXES:
        curve: Curve = getattr(training, OF_AXES.get(metric, metric))
        return curve
    split, _, name = metric.rpartition("/")
    curve = Curve()
    for evaluation in training.evaluations:
        values = {**dict(evaluation.metrics), "loss": evaluation.loss, "token_accuracy": evaluation.token_accuracy}
        if evaluation.split == split and name in values:
            curve = curve.add(evaluation.step, values[name])
    return curve


def history(state: RunState, metric: str, *, first_step: int = 0, last_step: int | None = None, most: int) -> Piece:
    """The buckets of a metric that lie within some steps, as many neighbours merged as `most` (at least 1) demands.

    A bucket that reaches over the border is inside. The same steps fall into the same buckets whenever this is asked.
    """
    curve = curve_of(state, metric)
    while True:
        within = tuple(bucket for bucket in curve if _is_within(bucket, curve.width, first_step, last_step))
        if len(within) <= max(1, most) or len(curve) < 2:
            return Piece(metric, curve.width, within)
        curve = curve.coarser()


def since(state: RunState, metric: str, width: int, step: int) -> Piece | None:
    """What is new in a curve for somebody who has its buckets of `width` steps up to the one that holds `step`.

    That bucket is given again, because it may have grown. None where only the whole curve helps: its buckets are wider
    by now, or it went back (the newest step of all is older than `step`).
    """
    curve = curve_of(state, metric)
    newest = curve.newest
    if curve.width > width or newest is None or newest.step < step:
        return None
    fresh: list[Bucket] = []
    for bucket in _newest_first(curve):
        if bucket.step // width < step // width:
            break
        fresh.append(bucket)
    return Piece(metric, width, tuple(neighbours_merged(reversed(fresh), width)))


def _newest_first(curve: Curve) -> Iterator[Bucket]:
    if curve.newest is not None:
        yield curve.newest
    yield from reversed(curve.done.open)
    for block in reversed(curve.done.blocks):
        yield from reversed(block)


def _is_within(bucket: Bucket, width: int, first_step: int, last_step: int | None) -> bool:
    return bucket.step >= first_step and (last_step is None or bucket.step // width * width <= last_step)
