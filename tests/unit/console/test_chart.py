"""A chart as lines of letters."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from console.state.braille import ALPHABETS, ASCII, BLOCKS, BRAILLE, Alphabet, drawn
from console.state.chart import GUTTER, MOST_UPRIGHTS, Chart, Mark, Trace, lines_of, nearest
from console.state.scale import Scale, label, linear, logarithmic, within
from console.state.series import Column, Extent, Point
from console.state.spans import text_of, width_of


def points(*values: float) -> list[Point]:
    return [Point(float(step), value, value, value, value) for step, value in enumerate(values)]


def texts(chart: Chart, width: int = 27, height: int = 8, alphabet: Alphabet = BRAILLE) -> list[str]:
    return [text_of(one).rstrip() for one in lines_of(chart, width, height, alphabet)]


FALLING = Chart("loss", Extent(0, 20), (Trace(points(*(4 - step / 5 for step in range(20)))),), value="0.2")


def test_a_falling_curve_falls_in_every_alphabet() -> None:
    for alphabet in ALPHABETS.values():
        rows = texts(FALLING, alphabet=alphabet)[1:-1]
        ends = [
            max((place for place, letter in enumerate(row) if place >= GUTTER and letter != " "), default=-1)
            for row in rows
        ]
        assert ends == sorted(ends)
        assert ends[-1] > ends[0]


@given(
    some.lists(some.none() | some.floats(-1e9, 1e9), min_size=2, max_size=60),
    some.sampled_from(list(ALPHABETS.values())),
    some.booleans(),
)
def test_every_column_with_a_value_has_a_dot_in_the_row_of_its_extremes(
    values: list[float | None], alphabet: Alphabet, is_dotted: bool
) -> None:
    columns = [None if value is None else Column(value, value, value, value) for value in values]
    known = [value for value in values if value is not None]
    scale = linear(min(known, default=0.0), max(known, default=1.0), 4)
    cells = math.ceil(len(values) / alphabet.columns)
    rows = drawn(alphabet, columns, scale, cells, 5, dotted=is_dotted)
    assert (len(rows), {len(row) for row in rows}) == (5, {cells})
    for place, value in enumerate(values):
        if value is not None and not (is_dotted and place // 2 % 2):
            row = round((5 * alphabet.rows - 1) * (1 - scale.share(value))) // alphabet.rows
            assert rows[row][place // alphabet.columns] != " "


@given(some.floats(-1e9, 1e9), some.floats(-1e9, 1e9), some.integers(1, 9))
@example(0.0, 5e-324, 1)
@example(0.0, 5e-324, 2)
def test_an_axis_holds_its_values_and_is_not_much_wider(one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    scale = linear(low, high, most)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert scale.low <= low + slack
    assert scale.high >= high - slack
    assert all(scale.low - slack <= tick <= scale.high + slack for tick in scale.ticks)
    assert len(scale.ticks) <= most + 3


@given(some.floats(1e-9, 1e9), some.floats(1e-9, 1e9))
def test_a_logarithmic_axis_holds_its_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scale = logarithmic(low, high, 5)
    assert scale.low <= low * (1 + 1e-6)
    assert scale.high >= high * (1 - 1e-6)
    assert (scale.share(scale.low), scale.share(scale.high)) == (0.0, pytest.approx(1.0))
    assert 2 <= len(scale.ticks) <= 6


def test_logarithmic_ticks_are_powers_of_ten_or_what_lies_between_two_of_them() -> None:
    assert logarithmic(0.003, 20, 6).ticks == (0.001, 0.01, 0.1, 1, 10, 100)
    assert logarithmic(0.003, 20, 3).ticks == (0.001, 1.0)
    assert logarithmic(1.3, 4, 5).ticks == (1.0, 2.0, 5.0)
    assert logarithmic(2, 2, 5).ticks == (2.0, 5.0)
    assert logarithmic(9.5, 9.9, 5).ticks == (5.0, 10.0)


def test_an_axis_of_one_value_or_none_has_room_around_it() -> None:
    assert linear(3.0, 3.0, 4).low < 3 < linear(3.0, 3.0, 4).high
    assert (linear(0.0, 0.0, 4).low, linear(math.inf, -math.inf, 4)) == (0.0, linear(0, 1, 4))


def test_numbers_at_an_axis_are_short() -> None:
    values = (0, 0.5, 1234, 20_000, 1.5e6, 2e9, 3e12, 1e16, 2e-4, 2.5e-5, -0.25)
    assert [label(value) for value in values] == [
        "0", "0.5", "1234", "20k", "1.5M", "2G", "3T", "1e16", "2e-4", "2.5e-5", "-0.25",
    ]  # fmt: skip
    assert within(0, 5000, 4) == (0, 2000, 4000)


def test_marks_stand_on_the_axis_and_through_the_chart_but_many_of_a_kind_only_on_the_axis() -> None:
    lost = Mark(10, "lost", "✗", "bad")
    with_mark = Chart("loss", Extent(0, 20), FALLING.traces, (lost,))
    column = [row[GUTTER + 10] for row in texts(with_mark)[1:]]
    assert (column[-1], column[:-1].count("┊")) == ("✗", 5)  # and the curve lies over one of them
    saved = tuple(Mark(place * 2, "checkpoint", "◆", "dim") for place in range(MOST_UPRIGHTS + 1))
    many = texts(Chart("loss", Extent(0, 20), FALLING.traces, saved))
    assert (many[-1].count("◆"), any("┊" in row for row in many[1:-1])) == (9, False)
    beyond = texts(Chart("loss", Extent(0, 20), FALLING.traces, (Mark(30, "lost", "✗", "bad"),), cursor=99))
    assert beyond[1:] == texts(FALLING)[1:]


def test_the_cursor_is_a_line_and_a_curve_lies_over_it() -> None:
    chart = Chart("loss", Extent(0, 20), FALLING.traces, cursor=4.0)
    column = [row[GUTTER + 4] for row in texts(chart)[1:-1]]
    assert (column.count("│"), len(column)) == (5, 6)


def test_a_chart_without_values_says_so() -> None:
    empty = texts(Chart("loss", Extent(0, 1)))
    assert empty[4].split("│")[1].strip() == "no values yet"
    negative = Chart("loss", Extent(0, 9), (Trace(points(-1.0, 0.0)),), is_log=True)
    assert "no value above 0" in texts(negative)[4]


def test_a_logarithmic_chart_says_so_and_leaves_out_what_it_cannot_show() -> None:
    shown = texts(Chart("grad_norm", Extent(0, 9), (Trace(points(0.0, 1.0, 10.0, 100.0)),), is_log=True))
    assert shown[0] == "grad_norm log"
    assert shown[1][GUTTER - 4 : GUTTER - 1] == "100"


@pytest.mark.parametrize("alphabet", [BRAILLE, BLOCKS, ASCII])
def test_lines_are_as_many_and_as_wide_as_asked_for(alphabet: Alphabet) -> None:
    dotted = Trace(points(1.0, 2.0, 3.0), "accent", dotted=True)
    for width, height in ((60, 12), (20, 4), (9, 3), (8, 2), (5, 1)):
        found = lines_of(
            Chart("a long title of a metric", Extent(0, 3), (dotted,), is_chosen=True), width, height, alphabet
        )
        assert len(found) == height
        assert all(width_of(one) <= width for one in found)


def test_the_nearest_point_is_found() -> None:
    assert nearest(points(5.0, 6.0, 7.0), 1.4) == points(5.0, 6.0)[-1]
    assert (nearest([], 1.0), nearest(points(1.0), math.nan)) == (None, None)


def test_a_scale_clamps_what_lies_outside() -> None:
    assert (Scale(1, 3, ()).share(0), Scale(1, 3, ()).share(9), Scale(1, 100, (), is_log=True).share(0)) == (0, 1, 0)
