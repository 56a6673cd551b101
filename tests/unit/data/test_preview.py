"""A sample as a person reads it."""

from __future__ import annotations

from runtime.data.preview import Piece, marked, pieces

PARTS = (Piece("q\n", False), Piece("a\n\nb", True), Piece("\n", False))


def test_neighbouring_tokens_of_one_kind_are_one_piece() -> None:
    found = pieces([1, 2, 3, 4], [0, 0, 1, 0], lambda ids: "-".join(map(str, ids)))
    assert found == (Piece("1-2", False), Piece("3", True), Piece("4", False))
    assert pieces([], [], lambda ids: "") == ()


def test_without_colour_learnt_text_stands_in_white_brackets() -> None:
    assert marked(PARTS, colour=False) == "q\n⟦a\n\nb⟧\n"


def test_colours_end_with_each_line() -> None:
    assert marked(PARTS, colour=True) == "q\n\x1b[38;5;16;48;5;114ma\x1b[0m\n\n\x1b[38;5;16;48;5;114mb\x1b[0m\n"
