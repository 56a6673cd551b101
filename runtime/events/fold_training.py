"""How steps, evaluations and samples change what is known of the training. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from runtime.events.state import StepPoint, Training
from runtime.events.training import EvaluationFinished, SampleGenerated, StepCommitted

_MOST_SAMPLES = 64


def committed(training: Training, event: StepCommitted, wall_seconds: float) -> Training:
    """One more step counts. A step that was committed before is done again: its later part is forgotten first."""
    if training.last is not None and event.step <= training.step:
        training = back_to(training, event.step - 1)
    point = StepPoint(
        event.step,
        wall_seconds,
        event.loss,
        event.tokens,
        event.grad_norm,
        event.learning_rate,
        event.seconds,
        event.compute_seconds,
        event.exchange_seconds,
        event.feed_seconds,
        event.applied,
    )
    rate = event.tokens / event.seconds if event.seconds > 0 else math.nan
    return Training(
        step=event.step,
        cursor=event.cursor + event.samples,
        first=training.first or point,
        last=event,
        recent=training.recent.append(point),
        loss=training.loss.add(event.step, event.loss),
        grad_norm=training.grad_norm.add(event.step, event.grad_norm),
        learning_rate=training.learning_rate.add(event.step, event.learning_rate),
        tokens_per_second=training.tokens_per_second.add(event.step, rate),
        tokens_seen=training.tokens_seen.add(event.step, training.tokens + event.tokens),
        committed_seconds=training.committed_seconds.add(event.step, wall_seconds),
        tokens=training.tokens + event.tokens,
        useful_tokens=training.useful_tokens + event.useful_tokens,
        computed_positions=training.computed_positions + event.computed_positions,
        committed=training.committed + 1,
        skipped=training.skipped + (not event.applied),
        loss_scale=training.loss_scale,
        aborted=training.aborted,
        first_evaluations=training.first_evaluations,
        evaluations=training.evaluations,
        samples_before=training.samples_before,
        samples_after=training.samples_after,
    )


def back_to(training: Training, step: int, cursor: int | None = None) -> Training:
    """The training as if nothing after `step` had happened; totals keep what was really computed."""
    if step >= training.step:
        return training if cursor is None else replace(training, step=step, cursor=cursor)
    if cursor is None:
        cursor = training.cursor if training.last is None else training.last.cursor
    first = training.first if training.first is not None and training.first.step <= step else None
    return replace(
        training,
        step=step,
        cursor=cursor,
        first=first,
        recent=training.recent.without_end(lambda point: point.step > step),
        loss=training.loss.cut(step),
        grad_norm=training.grad_norm.cut(step),
        learning_rate=training.learning_rate.cut(step),
        tokens_per_second=training.tokens_per_second.cut(step),
        tokens_seen=training.tokens_seen.cut(step),
        committed_seconds=training.committed_seconds.cut(step),
        evaluations=training.evaluations.without_end(lambda evaluation: evaluation.step > step),
    )


def evaluated(training: Training, event: EvaluationFinished) -> Training:
    """One more evaluation; the first of each split is kept for ever, for `from ... to ...`."""
    first = training.first_evaluations
    if event.split not in first:
        first = {**first, event.split: event}
    return replace(training, first_evaluations=first, evaluations=training.evaluations.append(event))


def answered(training: Training, event: SampleGenerated) -> Training:
    """One more answer: beside the first answers (same step) or among the newest ones."""
    before, after = training.samples_before, training.samples_after
    if not before or event.step == before[0].step:
        return replace(training, samples_before=_with(before, event))
    kept = after if after and after[0].step == event.step else ()
    return replace(training, samples_after=_with(kept, event))


def _with(samples: tuple[SampleGenerated, ...], event: SampleGenerated) -> tuple[SampleGenerated, ...]:
    """`samples` with the answer, in place of an earlier answer to the same prompt; 64 at most, the first ones."""
    if any(sample.prompt == event.prompt for sample in samples):
        return tuple(event if sample.prompt == event.prompt else sample for sample in samples)
    return (*samples, event)[:_MOST_SAMPLES]
