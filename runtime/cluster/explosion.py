"""The ladder against exploding gradients and losses: what becomes of a step whose numbers are bad. Pure.

    a gradient that is not finite    the step is skipped everywhere
    a norm out of all proportion     the update is clipped to mean + z deviations of the norms before it (ZClip,
                                     arXiv:2504.02507, with a floor under the deviation)
    five skips, or five losses far
    above the lowest level, in a row back to the last good state, past the samples consumed since, at half the rate for
                                     a while; three times, then the run gives up

Everything that is judged and remembered is a number of the journal, the same for any number of workers, and everything
that is remembered is in the counters of the position: a successor of the coordinator and a resumed run know it.
The judgement by statistics (clipping, losses) is only made with `train.spike_zscore` > 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

HORIZON_STEPS = 32
"""Means and deviations are moving averages with this horizon."""
WARMUP_STEPS = 25
"""So many steps are looked at before any is judged."""
DEVIATION_FLOOR = 0.1
"""The norm's deviation counts as at least this part of its mean: a calm curve is no reason to clip a ripple."""
OUT_OF_ALL_PROPORTION = 10.0
"""A norm of so many times the mean may be a broken device's work: it is computed once more elsewhere."""

HIGH_LOSSES_IN_A_ROW = 5
LOSS_DEVIATIONS = 6.0
LOSS_RATIO = 0.5
LOSS_NATS = 0.1
"""A loss is high when it is above the lowest level so far by the most of: 6 deviations (as they were
then: a divergence widens its own), half of the level, 0.1 nats."""

MOST_ROLLBACKS = 3
LOWER_RATE = 0.5
LOWER_RATE_UPDATES = 200
"""So many updates after a rollback have the lower rate; when so many steps beyond the trouble went well, it is over."""

_NORM_SEEN, _NORM_MEAN, _NORM_VARIANCE = "norm.seen", "norm.mean", "norm.variance"
_LOSS_SEEN, _LOSS_LEVEL, _LOSS_VARIANCE, _LOSS_LOWEST = "loss.seen", "loss.level", "loss.variance", "loss.lowest"
_LOSS_LOWEST_VARIANCE = "loss.lowest_variance"
_HIGH, _HIGH_LOSS, _SKIPS = "ladder.high_in_a_row", "ladder.high_loss", "ladder.skips_in_a_row"
_ROLLBACKS, _TROUBLE_STEP, _BACK_AT = "ladder.rollbacks", "ladder.trouble_step", "ladder.back_at"
_RATE_FACTOR, _RATE_UNTIL = "ladder.rate_factor", "ladder.rate_until"
PASSED_OVER = "ladder.passed_over"
"""Counter: samples that were consumed and deliberately not trained on, since a rollback passed over them."""

Counters = Mapping[str, float]


@dataclass(frozen=True)
class Clip:
    """The limit that the norms before set for this step's update."""

    norm: float
    """0: no limit."""
    zscore: float = 0.0
    """Deviations above the mean that the step's own norm is."""


@dataclass(frozen=True)
class Retreat:
    """What going back means in numbers."""

    counters: dict[str, float]
    """Of the state that the run goes back to."""
    passed_over: int
    """Samples consumed since that state."""
    rate_factor: float
    rate_updates: int


def clip_of(counters: Counters, norm: float, zscore: float) -> Clip:
    """Whether the update of a step with this norm is clipped, and to what."""
    limit = _norm_limit(counters, zscore)
    if not math.isfinite(norm) or norm <= limit:
        return Clip(0.0)
    return Clip(limit, (norm - counters[_NORM_MEAN]) / _norm_deviation(counters))


def is_out_of_proportion(counters: Counters, norm: float, zscore: float) -> bool:
    """Whether the norm is so high that it may be no gradient of this model and these data at all."""
    judged = zscore > 0 and counters.get(_NORM_SEEN, 0) >= WARMUP_STEPS
    return judged and norm > max(OUT_OF_ALL_PROPORTION * counters[_NORM_MEAN], _norm_limit(counters, zscore))


def after_step(
    counters: Counters, *, step: int, applied: bool, loss: float, norm: float, zscore: float, excused: bool = False
) -> dict[str, float]:
    """The counters when one more step was judged: streaks, statistics, and what is over by now.

    `excused`: that it was skipped is no sign of trouble.
    """
    after = dict(counters)
    _count(after, _SKIPS, 0 if applied else counters.get(_SKIPS, 0) + (not excused))
    if zscore > 0 and applied and math.isfinite(loss) and math.isfinite(norm):
        _follow_norm(after, min(norm, _norm_limit(counters, zscore)))
        if _is_high(counters, loss):
            after[_HIGH], after[_HIGH_LOSS] = counters.get(_HIGH, 0) + 1, loss
        else:
            for name in (_HIGH, _HIGH_LOSS):
                after.pop(name, None)
            _follow_loss(after, loss)
    if after.get("applied", 0) >= after.get(_RATE_UNTIL, math.inf):
        del after[_RATE_UNTIL], after[_RATE_FACTOR]
    if step > after.get(_TROUBLE_STEP, math.inf) + LOWER_RATE_UPDATES:
        del after[_TROUBLE_STEP], after[_ROLLBACKS]
    return after


def rate_factor(counters: Counters, update: int) -> float:
    """What the scheduled learning rate of an update is multiplied with."""
    return counters.get(_RATE_FACTOR, 1.0) if update <= counters.get(_RATE_UNTIL, 0) else 1.0


def is_calm(counters: Counters) -> bool:
    """Whether nothing is amiss: only such a state is worth going back to."""
    return not counters.get(_SKIPS) and not counters.get(_HIGH)


def is_first_after_retreat(counters: Counters, step: int) -> bool:
    """Whether this state should be saved soon: what is on disk does not know yet which samples were passed over."""
    return counters.get(_BACK_AT, -2) == step - 1


def trouble(counters: Counters, most_skips: int) -> str:
    """Why the run cannot go on from here: a clause for a person; empty when it can."""
    if (skips := int(counters.get(_SKIPS, 0))) >= most_skips:
        return f"the gradient was not finite {skips} times in a row"
    if (high := int(counters.get(_HIGH, 0))) >= HIGH_LOSSES_IN_A_ROW:
        level, loss = counters[_LOSS_LOWEST], counters[_HIGH_LOSS]
        return f"the loss was far above its lowest level of {level:.4g} {high} times in a row ({loss:.4g} at last)"
    return ""


def hopeless(counters: Counters) -> bool:
    """Whether the run went back so often that once more would not help."""
    return counters.get(_ROLLBACKS, 0) >= MOST_ROLLBACKS


def retreat(now: Counters, step: int, consumed: int, then: Counters, back_step: int, back_consumed: int) -> Retreat:
    """From `step` with `consumed` samples back to `back_step`, reached with `back_consumed`, and past the samples."""
    rollbacks = now.get(_ROLLBACKS, 0) + 1
    factor = now.get(_RATE_FACTOR, 1.0) * LOWER_RATE
    passed_over = consumed - back_consumed
    counters = {name: value for name, value in then.items() if name not in (_SKIPS, _HIGH, _HIGH_LOSS)}
    counters |= {
        _ROLLBACKS: rollbacks,
        _TROUBLE_STEP: max(step, now.get(_TROUBLE_STEP, 0)),
        _BACK_AT: back_step,
        _RATE_FACTOR: factor,
        _RATE_UNTIL: then.get("applied", 0) + LOWER_RATE_UPDATES,
        PASSED_OVER: then.get(PASSED_OVER, 0) + passed_over,
    }
    return Retreat(counters, passed_over, factor, LOWER_RATE_UPDATES)


# ---- moving statistics: plain means until the horizon is reached, exponential ones from then on


def _norm_deviation(counters: Counters) -> float:
    mean = counters[_NORM_MEAN]
    return max(math.sqrt(counters[_NORM_VARIANCE]), DEVIATION_FLOOR * mean, 1e-30)


def _norm_limit(counters: Counters, zscore: float) -> float:
    if zscore <= 0 or counters.get(_NORM_SEEN, 0) < WARMUP_STEPS:
        return math.inf
    return counters[_NORM_MEAN] + zscore * _norm_deviation(counters)


def _is_high(counters: Counters, loss: float) -> bool:
    if counters.get(_LOSS_SEEN, 0) < WARMUP_STEPS:
        return False
    lowest, deviation = counters[_LOSS_LOWEST], math.sqrt(counters[_LOSS_LOWEST_VARIANCE])
    return loss > lowest + max(LOSS_DEVIATIONS * deviation, LOSS_RATIO * lowest, LOSS_NATS)


def _follow_norm(counters: dict[str, float], norm: float) -> None:
    _follow(counters, norm, _NORM_SEEN, _NORM_MEAN, _NORM_VARIANCE)


def _follow_loss(counters: dict[str, float], loss: float) -> None:
    _follow(counters, loss, _LOSS_SEEN, _LOSS_LEVEL, _LOSS_VARIANCE)
    if counters[_LOSS_SEEN] >= WARMUP_STEPS and counters[_LOSS_LEVEL] < counters.get(_LOSS_LOWEST, math.inf):
        counters[_LOSS_LOWEST] = counters[_LOSS_LEVEL]
        counters[_LOSS_LOWEST_VARIANCE] = counters[_LOSS_VARIANCE]


def _follow(counters: dict[str, float], value: float, seen: str, mean: str, variance: str) -> None:
    """One more value (West's update of mean and variance)."""
    count = counters.get(seen, 0) + 1
    weight = 1.0 / min(count, HORIZON_STEPS)
    step = weight * (value - counters.get(mean, 0.0))
    before = counters.get(mean, 0.0) if count > 1 else value
    counters[seen] = min(count, HORIZON_STEPS)
    counters[variance] = (1 - weight) * (counters.get(variance, 0.0) + weight * (value - before) ** 2)
    counters[mean] = counters.get(mean, 0.0) + step


def _count(counters: dict[str, float], name: str, value: float) -> None:
    """Counters that are 0 are left out."""
    if value:
        counters[name] = value
    else:
        counters.pop(name, None)
