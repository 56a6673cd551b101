"""The ladder's judgement on curves: noise, a spike, a gradient that is not finite, a divergence. Pure numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest

from runtime.cluster import explosion
from runtime.cluster.explosion import (
    LOWER_RATE,
    LOWER_RATE_UPDATES,
    MOST_ROLLBACKS,
    PASSED_OVER,
    WARMUP_STEPS,
    after_step,
    clip_of,
    hopeless,
    is_calm,
    is_first_after_retreat,
    is_out_of_proportion,
    rate_factor,
    retreat,
    trouble,
)

NAN = math.nan
FIVE = 5


def healthy(seed: int, steps: int) -> Iterator[tuple[float, float]]:
    """(loss, norm) of a random training that goes well: decay from a start to an end, with correlated noise."""
    rng = random.Random(seed)
    start, end, tau = rng.uniform(3, 12), rng.uniform(0.02, 3), rng.uniform(20, 300)
    noise, correlation = rng.uniform(0.01, 0.25), rng.uniform(0, 0.7)
    norm_start, norm_end, norm_noise = rng.uniform(1, 30), rng.uniform(0.1, 3), rng.uniform(0.03, 0.4)
    error = 0.0
    for step in range(1, steps + 1):
        decay = math.exp(-step / tau)
        error = correlation * error + math.sqrt(1 - correlation**2) * rng.gauss(0, 1)
        loss = (end + (start - end) * decay) * (1 + noise * error)
        norm = (norm_end + (norm_start - norm_end) * decay) * math.exp(norm_noise * rng.gauss(0, 1))
        yield max(loss, 0.0), norm


class Curve:
    """A position's counters along a curve."""

    def __init__(self, zscore: float = 2.5) -> None:
        self.zscore, self.counters, self.step = zscore, dict[str, float](), 0
        self.clipped = self.disproportionate = 0

    def go(self, loss: float = 2.0, norm: float = 1.0) -> explosion.Clip:
        """One more step."""
        self.step += 1
        applied = math.isfinite(norm)
        clip = clip_of(self.counters, norm, self.zscore)
        self.clipped += clip.norm > 0
        self.disproportionate += applied and is_out_of_proportion(self.counters, norm, self.zscore)
        self.counters["applied"] = self.counters.get("applied", 0) + applied
        self.counters = after_step(
            self.counters, step=self.step, applied=applied, loss=loss, norm=norm, zscore=self.zscore
        )
        return clip

    def warm(self, steps: int = 2 * WARMUP_STEPS) -> Curve:
        """Ordinary steps with a little noise."""
        rng = random.Random(1)
        for _ in range(steps):
            self.go(2.0 + rng.gauss(0, 0.05), 1.0 + rng.gauss(0, 0.1))
        return self

    @property
    def trouble(self) -> str:
        """Why it cannot go on."""
        return trouble(self.counters, FIVE)


def test_no_healthy_curve_is_rolled_back_or_suspected_and_few_steps_are_clipped() -> None:
    """The whole table (10,000 curves): python -P -m tests.benchmarks.ladder --curves 10000"""
    steps = clipped = 0
    for seed in range(60):
        curve = Curve()
        for loss, norm in healthy(seed, 250):
            curve.go(loss, norm)
            assert not curve.trouble, f"seed {seed}, step {curve.step}"
        steps, clipped = steps + curve.step, clipped + curve.clipped
        assert curve.disproportionate == 0
    assert clipped / steps < 0.02


def test_an_injected_ten_thousandfold_gradient_is_clipped_to_the_mean_and_some_deviations() -> None:
    curve = Curve().warm()
    assert is_out_of_proportion(curve.counters, 1e4, curve.zscore)
    clip = curve.go(norm=1e4)
    assert 1.1 < clip.norm < 1.6
    assert clip.zscore > 1e4
    assert curve.go().norm == 0  # and the next one is judged by what it was clipped to
    assert clip_of(curve.counters, 1e4, curve.zscore).norm == pytest.approx(clip.norm, rel=0.05)


def test_a_spike_during_the_warm_up_is_not_judged() -> None:
    curve = Curve().warm(WARMUP_STEPS - 1)
    assert curve.go(norm=1e4).norm == 0
    assert not is_out_of_proportion(Curve().counters, 1e4, 2.5)


def test_a_calm_norm_is_not_clipped_for_a_ripple() -> None:
    curve = Curve()
    for _ in range(100):
        assert curve.go(norm=1.0).norm == 0
    assert curve.go(norm=1.2).norm == 0
    assert curve.go(norm=1.3).norm == pytest.approx(1.25, rel=0.01)


def test_a_gradient_that_is_not_finite_counts_and_is_forgiven_by_the_next_good_one() -> None:
    curve = Curve(0.0)
    for _ in range(FIVE - 1):
        curve.go(NAN, NAN)
        assert not is_calm(curve.counters)
    assert trouble(curve.counters, FIVE) == ""
    curve.go()
    assert is_calm(curve.counters)
    for _ in range(FIVE):
        assert trouble(curve.counters, FIVE) == ""
        curve.go(NAN, NAN)
    assert trouble(curve.counters, FIVE) == "the gradient was not finite 5 times in a row"


def test_without_a_zscore_nothing_is_judged_or_remembered_but_skips() -> None:
    curve = Curve(0.0)
    for _ in range(60):
        curve.go(loss=2.0, norm=1.0)
    curve.go(loss=1e9, norm=1e9)
    assert curve.counters == {"applied": 61}
    assert (curve.clipped, curve.disproportionate) == (0, 0)


def test_a_loss_that_jumps_and_stays_is_trouble_after_five_steps() -> None:
    curve = Curve().warm()
    for _ in range(FIVE - 1):
        curve.go(loss=6.0)
        assert not is_calm(curve.counters)
        assert not curve.trouble
    curve.go(loss=6.5)
    assert curve.trouble.startswith("the loss was far above its lowest level of ")
    assert curve.trouble.endswith(" 5 times in a row (6.5 at last)")


def test_a_loss_that_jumps_and_comes_back_is_no_trouble() -> None:
    curve = Curve().warm()
    for _ in range(10):
        for _ in range(FIVE - 1):
            curve.go(loss=6.0)
        curve.go(loss=2.0)
        assert is_calm(curve.counters)


@pytest.mark.parametrize("nats_a_step", [0.005, 0.02, 0.1])
def test_a_slow_divergence_is_trouble_before_the_loss_has_trebled(nats_a_step: float) -> None:
    curve = Curve().warm()
    rng = random.Random(2)
    for extra in range(1, 2000):
        loss = 2.0 + nats_a_step * extra
        curve.go(loss=loss + rng.gauss(0, 0.05))
        if curve.trouble:
            break
    assert curve.trouble
    assert loss < 6.0


def test_going_back_keeps_the_older_state_s_numbers_passes_over_the_samples_and_halves_the_rate() -> None:
    then = Curve().warm().counters
    curve = Curve().warm()
    for _ in range(FIVE):
        curve.go(NAN, NAN)
    back = retreat(curve.counters, 55, 880, then, 50, 800)
    assert (back.passed_over, back.rate_factor, back.rate_updates) == (80, LOWER_RATE, LOWER_RATE_UPDATES)
    assert not trouble(back.counters, FIVE)
    assert is_calm(back.counters)
    assert back.counters[PASSED_OVER] == 80
    assert {name: back.counters[name] for name in then} == then
    assert [rate_factor(back.counters, update) for update in (51, 250, 251)] == [0.5, 0.5, 1.0]
    assert [step for step in range(49, 54) if is_first_after_retreat(back.counters, step)] == [51]


def test_a_second_retreat_lowers_the_rate_further_and_adds_to_what_was_passed_over() -> None:
    first = retreat({}, 5, 80, {"applied": 0}, 0, 0)
    second = retreat(first.counters, 5, 160, first.counters, 0, 80)
    assert (second.rate_factor, second.counters[PASSED_OVER]) == (LOWER_RATE**2, 160)


def test_the_lower_rate_ends_and_old_trouble_is_forgiven_once_the_run_is_well_past_it() -> None:
    curve = Curve(0.0)
    curve.counters = retreat({}, 5, 80, {"applied": 0}, 0, 0).counters
    for _ in range(LOWER_RATE_UPDATES):
        assert rate_factor(curve.counters, curve.step + 1) == LOWER_RATE
        curve.go()
    assert rate_factor(curve.counters, curve.step + 1) == 1.0
    assert "ladder.rollbacks" in curve.counters
    for _ in range(6):
        curve.go()
    assert "ladder.rollbacks" not in curve.counters


def test_after_three_retreats_without_progress_the_run_is_hopeless() -> None:
    counters: dict[str, float] = {"applied": 0}
    for rollbacks in range(MOST_ROLLBACKS):
        assert not hopeless(counters), rollbacks
        counters = retreat(counters, 5, 80, counters, 0, 0).counters
    assert hopeless(counters)
