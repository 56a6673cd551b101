from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.state.figures import clean, clock, columns, count, duration, padded, shortened, size, some


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (math.inf, "?"),
        (-1, "?"),
        (0, "0 ms"),
        (0.85, "850 ms"),
        (9.5, "9.5 s"),
        (42, "42 s"),
        (59.7, "1m00s"),
        (200, "3m20s"),
        (3600, "1h00m"),
        (3900, "1h05m"),
        (187200, "2d04h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "00:00"), (math.nan, "00:00"), (42.9, "00:42"), (3723, "1:02:03")])
def test_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "?"),
        (math.nan, "?"),
        (0, "0"),
        (850, "850"),
        (999.6, "1.0k"),
        (12345, "12.3k"),
        (1.2e6, "1.2M"),
        (5e12, "5000.0G"),
    ],
)
def test_counts(number: float | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(("bytes_", "text"), [(0, "0 B"), (512, "512 B"), (4100, "4.1 kB"), (12_345_678, "12.3 MB")])
def test_sizes(bytes_: int, text: str) -> None:
    assert size(bytes_) == text


def test_plurals() -> None:
    assert [some(1, "crash", "crashes"), some(2, "crash", "crashes"), some(0, "step")] == [
        "1 crash",
        "2 crashes",
        "0 steps",
    ]


@given(st.text(), st.integers(3, 40))
@settings(deadline=None)
def test_shortened_text_fits_and_cannot_steer_a_terminal(text: str, width: int) -> None:
    short = shortened(text, width)
    assert columns(short) <= width
    assert short.isprintable() or not any(ord(character) < 32 for character in short)
    assert columns(padded(text, width)) == width


def test_hostile_text_becomes_one_harmless_line() -> None:
    assert clean("a\x1b[2J\nb\t\u202ec\u2028d") == "a [2J b c d"


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert columns("\u4e94e\u0301") == 3
    assert shortened("\u4e94" * 10, 10) == "\u4e94" * 3 + "..."
