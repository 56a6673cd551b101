"""An answer ends before its stop text, however the text was cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.serving.stops import StopCutter


def said(pieces: list[str], stops: list[str]) -> str:
    cutter = StopCutter(stops)
    return "".join([*(cutter.feed(piece) for piece in pieces), cutter.finish()])


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["one two"], [], "one two"),
        (["one STOP two"], ["STOP"], "one "),
        (["one ST", "OP two", "three"], ["STOP"], "one "),
        (["one ST", "EP"], ["STOP"], "one STEP"),
        (["one ST"], ["STOP"], "one ST"),
        (["aab"], ["ab", "b"], "a"),
        (["ab"], ["b", "ab"], ""),
    ],
)
def test_what_is_sent(pieces: list[str], stops: list[str], expected: str) -> None:
    assert said(pieces, stops) == expected


def test_only_what_may_begin_a_stop_text_is_held_back() -> None:
    cutter = StopCutter(["\n\nUser:"])
    assert [cutter.feed("yes"), cutter.feed("\n"), cutter.feed("no")] == ["yes", "", "\nno"]
    assert not cutter.stopped


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.data())
def test_pieces_make_no_difference(text: str, stops: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    sent = said(pieces, stops)
    assert sent == text or any(text[len(sent) :].startswith(stop) for stop in stops)
    assert not any(stop in sent for stop in stops)
