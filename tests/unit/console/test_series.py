"""Curves become columns: nothing is lost, nothing jumps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from console.state.series import (
    BY_STEP,
    Column,
    Extent,
    Point,
    columns_of,
    extent,
    points_of,
    smoothed,
    track_of,
    zoomed,
)
from runtime.events.curve import Bucket, Curve

VALUES = some.lists(some.floats(-1e6, 1e6), min_size=1, max_size=200)


def points(values: list[float]) -> list[Point]:
    return [Point(float(step), value, value, value, value) for step, value in enumerate(values, 1)]


def curve(values: list[float]) -> Curve:
    whole = Curve()
    for step, value in enumerate(values, 1):
        whole = whole.add(step, value)
    return whole


@given(VALUES, some.integers(1, 90))
def test_a_column_spans_exactly_the_raw_values_that_belong_to_it(values: list[float], columns: int) -> None:
    shown = extent(len(values), columns)
    raw: dict[int, list[float]] = {}
    for step, value in enumerate(values, 1):
        raw.setdefault(min(shown.column(step, columns), columns - 1), []).append(value)
    found = {place: column for place, column in enumerate(columns_of(points(values), shown, columns)) if column}
    assert {place: (column.low, column.high) for place, column in found.items()} == {
        place: (min(inside), max(inside)) for place, inside in raw.items()
    }
    assert {place: (column.first, column.last) for place, column in found.items()} == {
        place: (inside[0], inside[-1]) for place, inside in raw.items()
    }


@given(VALUES, some.integers(1, 90))
def test_a_curve_that_grows_never_moves_what_is_drawn_until_its_axis_doubles(values: list[float], columns: int) -> None:
    before = columns_of(points(values[:-1]), extent(len(values), columns), columns)
    after = columns_of(points(values), extent(len(values), columns), columns)
    changed = [place for place in range(columns) if before[place] != after[place]]
    assert len(changed) <= 1
    assert extent(len(values), columns).end in {
        extent(len(values) + 1, columns).end,
        extent(len(values) + 1, columns).end / 2,
    }


@given(some.integers(1, 10**7), some.integers(1, 200))
def test_the_axis_is_a_power_of_two_wide_and_at_least_half_used(newest: int, columns: int) -> None:
    end = extent(newest, columns).end
    assert math.log2(end / columns).is_integer()
    assert newest <= end < 2 * max(newest, 1) or math.isclose(end, 2 * newest) or end < 2 * newest


def test_the_axis_ends_where_the_run_is_planned_to_end_once_that_is_near() -> None:
    assert extent(10, 80, planned=400).end == 10  # an eighth of a step is a column
    assert extent(150, 80, planned=400).end == 160
    assert extent(390, 80, planned=400).end == 400
    assert extent(420, 80, planned=400).end == 640  # it went on


def test_wide_buckets_stand_where_their_first_step_is() -> None:
    wide = curve([1.0, 5.0, 3.0, 7.0, 2.0]).coarser()
    assert [(point.x, point.low, point.high, point.last) for point in points_of(wide, wide.width)] == [
        (0.0, 1.0, 1.0, 1.0),
        (2.0, 3.0, 5.0, 3.0),
        (4.0, 2.0, 7.0, 2.0),
    ]


@given(VALUES, some.sampled_from([0.0, 0.6, 0.9, 0.99]))
def test_smoothing_is_the_debiased_average_of_all_that_was(values: list[float], decay: float) -> None:
    found = smoothed(points(values), decay)[-1].mean
    weights = [decay**age if age or decay else 1.0 for age in reversed(range(len(values)))]
    told = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    assert found == pytest.approx(told, rel=1e-6, abs=1e-6)


def test_a_smoothed_constant_is_that_constant_from_its_first_value_on() -> None:
    assert [point.mean for point in smoothed(points([3.0] * 4), 0.99)] == pytest.approx([3.0] * 4)


def test_several_values_of_a_bucket_count_as_that_many() -> None:
    one_by_one = smoothed(points([1.0, 4.0, 4.0, 4.0]), 0.9)[-1].mean
    together = smoothed([Point(1, 1, 1, 1, 1), Point(2, 4, 4, 4, 4, 3)], 0.9)[-1].mean
    assert together == pytest.approx(one_by_one)


def test_zooming_keeps_to_the_columns_of_the_whole() -> None:
    whole = Extent(0.0, 800.0)
    assert zoomed(whole, 80, halvings=0, centre=3.0) is whole
    assert zoomed(whole, 80, halvings=1, centre=403.0) == Extent(200.0, 600.0)
    assert zoomed(whole, 80, halvings=2, centre=790.0) == Extent(600.0, 800.0)
    assert zoomed(whole, 80, halvings=2, centre=1.0) == Extent(0.0, 200.0)


def test_what_lies_outside_of_the_axis_is_left_out_and_its_end_is_inside() -> None:
    inside = [Point(x, 1.0, 1.0, 1.0, 1.0) for x in (0.0, 9.0, 20.0, 21.0)]
    assert columns_of(inside, Extent(8.0, 20.0), 2) == [Column(1.0, 1.0, 1.0, 1.0)] * 2


def test_steps_become_tokens_or_seconds_and_back() -> None:
    tokens = track_of([Bucket(2, 200, 200, 200, 200, 200, 1), Bucket(4, 800, 800, 800, 800, 800, 1)])
    assert [tokens.at(step) for step in (1, 2, 3, 4, 9)] == [200, 200, 500, 800, 800]
    assert [tokens.step_of(value) for value in (0, 200, 201, 900)] == [2, 2, 4, 4]
    assert (BY_STEP.at(7), BY_STEP.step_of(7.9)) == (7, 7)
    assert track_of([Bucket(1, 5, 5, 5, 5, 5, 1), Bucket(2, 4, 4, 4, 4, 4, 1)], origin=3.0).values == (2.0, 2.0)
