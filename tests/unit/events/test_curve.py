from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events import curve as curves
from runtime.events.curve import Curve

VALUES = st.lists(st.floats(-100, 100, width=32), max_size=100)


@pytest.fixture(autouse=True)
def _few_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MOST_BUCKETS", 8)


def drawn(values: list[float], first_step: int = 1) -> Curve:
    curve = Curve()
    for step, value in enumerate(values, start=first_step):
        curve = curve.add(step, value)
    return curve


@given(VALUES)
@settings(deadline=None)
def test_buckets_keep_extremes_sums_and_counts_of_the_raw_values(values: list[float]) -> None:
    curve = drawn(values)
    assert len(curve) <= 8
    assert len(list(curve)) == len(curve)
    assert sum(bucket.values for bucket in curve) == len(values)
    for bucket in curve:
        steps = range(bucket.step // curve.width * curve.width, bucket.step + 1)
        raw = [values[step - 1] for step in steps if step >= 1]
        assert bucket.minimum == min(raw)
        assert bucket.maximum == max(raw)
        assert bucket.first == raw[0]
        assert bucket.last == raw[-1]
        assert bucket.mean == pytest.approx(sum(raw) / len(raw), rel=1e-9, abs=1e-9)


def test_the_width_is_a_power_of_two_and_doubles_when_full() -> None:
    assert drawn([1.0] * 7).width == 1
    assert drawn([1.0] * 9).width == 2
    assert drawn([1.0] * 100).width == 16


def test_the_same_step_always_falls_into_the_same_bucket() -> None:
    early, late = drawn([1.0] * 20), drawn([1.0] * 21)
    assert early.width == late.width
    assert [b.step for b in late][: len(early) - 1] == [b.step for b in early][:-1]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_leaves_no_trace(value: float) -> None:
    curve = drawn([1.0])
    assert curve.add(2, value) is curve


def test_an_older_step_joins_the_newest_bucket() -> None:
    curve = drawn([1.0, 2.0, 3.0]).add(1, 9.0)
    assert [bucket.last for bucket in curve] == [1.0, 2.0, 9.0]
    assert [bucket.step for bucket in curve] == [1, 2, 3]


def test_cut_removes_the_steps_that_will_be_done_again() -> None:
    curve = drawn([1.0, 2.0, 3.0, 4.0])
    assert [bucket.step for bucket in curve.cut(2)] == [1, 2]
    assert [bucket.step for bucket in curve.cut(2).add(3, 7.0)] == [1, 2, 3]
    assert curve.cut(4) is curve
    assert len(curve.cut(0)) == 0
    assert Curve().cut(3) == Curve()


def test_merging_leaves_a_lone_neighbour_alone() -> None:
    curve = Curve().add(1, 1.0).add(2, 2.0).add(3, 3.0).coarser()
    assert [(bucket.step, bucket.values) for bucket in curve] == [(1, 1), (3, 2)]
    assert len(Curve().coarser()) == 0
