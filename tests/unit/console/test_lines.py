"""Lines of toned text: cut, laid out, and drawn by any terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.state.figures import columns
from console.state.heading import alarms_line, liveness_line, tab_line, time_left, title_line
from console.state.spans import EMPTY, Column, Span, between, cut, joined, line, padded, table, text_of, toned, width_of
from console.state.sparkline import sparkline
from console.state.tabs import TABS
from console.state.terminal import Terminal, drawn, terminal_of
from console.state.timeline import timeline_line
from console.widgets.sheet import changed_columns
from runtime.view.cards import RunCard

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)


@given(st.lists(texts, max_size=4), st.integers(0, 40))
def test_a_line_is_never_wider_than_its_room_and_never_steers_a_terminal(parts: list[str], width: int) -> None:
    whole = line(*parts)
    assert width_of(cut(whole, width)) <= width
    assert "\x1b" not in text_of(whole)
    assert "\n" not in text_of(whole)


@given(st.lists(texts.filter(lambda text: columns(text) == len(text)), max_size=3), st.integers(1, 40))
def test_a_padded_line_fills_its_room(parts: list[str], width: int) -> None:
    assert width_of(padded(line(*parts), width)) == width


def test_what_is_cut_ends_in_an_ellipsis_and_wide_letters_stay_whole() -> None:
    assert text_of(cut(line("abcdef"), 4)) == "abc…"
    assert text_of(cut(line("日本語"), 4)) == "日…"
    assert cut(line("abc"), 0) == ()


def test_left_and_right_share_a_line() -> None:
    assert text_of(between(line("left"), line("right"), 12)) == "left   right"
    assert text_of(between(line("left"), line("right"), 7)) == "l…right"
    assert text_of(between(line("left"), line("right"), 4)) == "rig…"
    assert toned(line("a"), "bad") == (Span("a", "bad"),)
    assert text_of(joined([line("a"), EMPTY, line("b")], Span("/"))) == "a/b"


def test_a_table_aligns_numbers_and_gives_up_its_lightest_columns() -> None:
    heads = (Column("name", most=5), Column("note", weight=1), Column("size", is_right=True))
    rows = [[line("abcdefgh"), line("hm"), line("7")], [line("b"), line("x"), line("123")]]
    assert [text_of(each).rstrip() for each in table(heads, rows, 40)] == [
        "name   note  size",
        "abcd…  hm       7",
        "b      x      123",
    ]
    assert [text_of(each) for each in table(heads, rows, 12)] == ["name   size", "abcd…     7", "b       123"]
    assert "name" in text_of(table(heads, rows, 3)[0])


def test_a_terminal_without_unicode_gets_letters_of_the_same_width() -> None:
    text = "● ▲ ━━ ⣿⠁ 日 ┬ é"
    plain = drawn(text, has_unicode=False)
    assert plain.isascii()
    assert columns(plain) == columns(text)
    assert drawn(text, has_unicode=True) == text
    assert drawn("plain", has_unicode=False) == "plain"


@pytest.mark.parametrize(
    ("environment", "encoding", "wanted"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", Terminal("dark", True)),
        ({"TERM": "xterm-256color", "COLORFGBG": "0;15"}, "UTF-8", Terminal("light", True)),
        ({"TERM": "screen"}, "utf-8", Terminal("ansi", True)),
        ({"TERM": "screen", "COLORTERM": "truecolor"}, "utf-8", Terminal("dark", True)),
        ({"NO_COLOR": "", "TERM": "xterm-256color"}, "ascii", Terminal("ansi", False)),
    ],
)
def test_the_environment_says_what_a_terminal_can(environment: dict[str, str], encoding: str, wanted: Terminal) -> None:
    assert terminal_of(environment, encoding) == wanted


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("abcd", "abcd", None),
        ("abcd", "abXd", (2, 3)),
        ("abcd", "XbcY", (0, 4)),
        ("ab日", "aX日", (1, 2)),
        ("abcd", "日bc", (0, 4)),
    ],
)
def test_only_the_columns_that_differ_are_painted(before: str, after: str, wanted: tuple[int, int] | None) -> None:
    assert changed_columns(line(before), line(after)) == wanted


def test_another_tone_is_a_difference() -> None:
    assert changed_columns(line("ab", "c"), line("ab", ("c", "bad"))) == (2, 3)


def test_a_sparkline_has_its_extremes_and_holes() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert (sparkline([5, 5], 9), sparkline([], 5), sparkline([float("nan")], 3)) == ("▄▄", "", " ")
    assert sparkline([0, float("nan"), 7], 3) == "▁ █"
    assert len(sparkline([float(value) for value in range(1000)], 40)) == 40


RUN = RunCard(name="quick", status="running", step=4, last_step=100, members=(0,), workers=2, remaining_seconds=90.0)


def test_the_title_tells_run_workers_step_and_whether_it_may_be_believed() -> None:
    told = text_of(title_line(RUN, liveness_line("live", 0.2, "", is_over=False, frozen=False), 100, place="x"))
    assert [word for word in ("quick", "RUNNING", "workers 1/2", "step 4/100", "LIVE") if word not in told] == []
    narrow = text_of(title_line(RUN, liveness_line("stale", 42.7, "", is_over=False, frozen=False), 60, place="x"))
    assert len(narrow) <= 60
    assert "STALE 42 s" in narrow
    assert "RUNNING" in narrow


@pytest.mark.parametrize(
    ("liveness", "options", "wanted"),
    [
        ("live", {}, "LIVE"),
        ("connecting", {}, "connecting"),
        ("connecting", {"trouble": "nobody answers"}, "no connection"),
        ("replay", {"is_over": True}, "ENDED"),
        ("replay", {}, "NOT RUNNING"),
        ("replay", {"replaying": True}, "REPLAY"),
        ("live", {"frozen": True}, "FROZEN"),
    ],
)
def test_every_state_of_a_connection_has_its_word(liveness: str, options: dict[str, object], wanted: str) -> None:
    whole = {"trouble": "", "is_over": False, "frozen": False, **options}
    told = liveness_line(
        liveness, None, str(whole.pop("trouble")), **{name: bool(each) for name, each in whole.items()}
    )
    assert wanted in text_of(told)


def test_a_long_journal_says_how_much_of_it_was_read() -> None:
    for liveness in ("replay", "stale", "connecting"):
        told = liveness_line(liveness, 9.0, "", is_over=True, frozen=False, replaying=True, read_share=0.344)
        assert text_of(told) == "○ reading the journal, 34%"


def test_tabs_say_where_one_is_also_where_there_is_little_room() -> None:
    assert "[5 Logs]" in text_of(tab_line(TABS, "logs", line("fact"), 100))
    assert text_of(tab_line(TABS, "logs", line("a long fact!"), 48)).rstrip().endswith("fact!")
    assert "[5 Logs]" in text_of(tab_line(TABS, "logs", line("a very long fact of many letters"), 40))


def test_time_left_and_alarms_are_told_only_where_there_are_some() -> None:
    assert text_of(time_left(RUN)) == "ETA 1m30s"
    assert time_left(RunCard()) == EMPTY
    assert [text_of(alarms_line(*counts)) for counts in ((0, 0), (0, 1), (2, 1))] == ["", "▲ 1 warning", "▲ 2 critical"]


def test_a_time_line_shows_where_one_is() -> None:
    told = text_of(timeline_line(0.0, 100.0, 50.0, [0.0, 100.0], 80, film=None))
    assert len(told) <= 80
    assert "00:50 of 01:40" in told
    track = told[told.index("┬") : told.rindex("┬") + 1]
    assert abs(track.index("●") - len(track) // 2) <= 1
    assert "7 x" in text_of(timeline_line(5.0, 5.0, 5.0, [], 80, film=7.0))
