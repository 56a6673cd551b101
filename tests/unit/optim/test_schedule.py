from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.optim.schedule import Schedule, Shape

SHAPES: tuple[Shape, ...] = ("constant", "linear", "cosine", "wsd")


def rates(schedule: Schedule) -> list[float]:
    return [schedule.rate(step) for step in range(1, schedule.total_steps + 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_warm_up_rises_evenly_to_the_full_rate(shape: Shape) -> None:
    schedule = Schedule(shape, lr=1.0, total_steps=100, warmup_steps=4)
    assert [schedule.rate(step) for step in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]
    assert schedule.rate(5) <= 1.0


def test_constant_stays() -> None:
    assert set(rates(Schedule("constant", lr=0.5, total_steps=10, min_lr_ratio=0.1))) == {0.5}


def test_linear_falls_evenly_to_the_floor() -> None:
    assert rates(Schedule("linear", lr=1.0, total_steps=5, min_lr_ratio=0.5)) == pytest.approx(
        [0.9, 0.8, 0.7, 0.6, 0.5]
    )


def test_cosine_is_half_way_at_half_time() -> None:
    schedule = Schedule("cosine", lr=2.0, total_steps=110, warmup_steps=10, min_lr_ratio=0.1)
    assert schedule.rate(60) == pytest.approx(2.0 * 0.55)
    assert schedule.rate(35) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))))


def test_wsd_holds_until_the_last_fifth() -> None:
    schedule = Schedule("wsd", lr=1.0, total_steps=100, min_lr_ratio=0.0)
    assert {schedule.rate(step) for step in range(1, 80)} == {1.0}
    assert schedule.rate(90) == pytest.approx(0.5)
    assert schedule.rate(100) == 0.0


def test_a_ratio_of_warm_up_counts_in_all_steps() -> None:
    by_ratio = Schedule("cosine", lr=1.0, total_steps=200, warmup_ratio=0.05)
    assert by_ratio.warmup == 10
    assert rates(by_ratio) == rates(Schedule("cosine", lr=1.0, total_steps=200, warmup_steps=10))


def test_warm_up_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Schedule("cosine", lr=1.0, total_steps=10, warmup_steps=1, warmup_ratio=0.1)


@given(
    shape=st.sampled_from(SHAPES),
    total=st.integers(1, 300),
    warmup=st.integers(0, 320),
    floor=st.floats(0, 1),
)
def test_every_rate_is_positive_below_the_peak_and_never_rises_after_warm_up(
    shape: Shape, total: int, warmup: int, floor: float
) -> None:
    schedule = Schedule(shape, lr=1e-3, total_steps=total, warmup_steps=warmup, min_lr_ratio=floor)
    values = rates(schedule)
    assert all(0 <= value <= 1e-3 * (1 + 1e-12) for value in values)
    after = values[max(0, warmup - 1) :]
    assert all(late <= early * (1 + 1e-12) for early, late in itertools.pairwise(after))
    if warmup < total and shape != "constant":
        assert values[-1] == pytest.approx(1e-3 * floor, abs=1e-18)
    assert schedule.rate(total + 50) <= max(values) * (1 + 1e-12) or warmup > total
