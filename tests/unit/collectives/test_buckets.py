"""Cuts: every element exactly once, owners evenly loaded, the same on every rank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.collectives.buckets import ALIGN_ELEMENTS, cut, owned, shares, spans
from runtime.ids import Rank


@given(st.integers(0, 5000), st.integers(1, 8), st.integers(1, 900), st.integers(1, 300))
def test_every_element_lies_in_exactly_one_piece(elements: int, owners: int, bucket: int, piece: int) -> None:
    ranks = tuple(Rank(2 * i) for i in range(owners))
    pieces = cut(elements, ranks, bucket, piece)
    covered = sorted((each.start, each.stop) for each in pieces)
    assert [start for start, _ in covered] == [0, *[stop for _, stop in covered]][: len(covered)]
    assert (covered[-1][1] if covered else 0) == elements
    assert [each.index for each in pieces] == list(range(len(pieces)))
    assert all(0 < each.elements <= piece and each.owner in ranks for each in pieces)
    assert all(each.start // bucket == (each.stop - 1) // bucket == each.bucket for each in pieces)
    assert sorted(p.index for each in owned(elements, ranks, bucket, piece).values() for p in each) == list(
        range(len(pieces))
    )


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_shares_differ_by_at_most_one_cache_line(elements: int, count: int) -> None:
    sizes = [stop - start for start, stop in shares(0, elements, count)]
    assert sum(sizes) == elements
    assert max(sizes) - min(sizes) <= 2 * ALIGN_ELEMENTS
    assert all(start % ALIGN_ELEMENTS == 0 or start == elements for start, _ in shares(0, elements, count))


def test_owners_take_turns_so_that_all_of_them_start_at_once() -> None:
    pieces = cut(64, (Rank(0), Rank(1)), 64, 16)
    assert [each.owner for each in pieces] == [0, 1, 0, 1]


def test_a_span_needs_an_element() -> None:
    with pytest.raises(ValueError, match="at least one element"):
        spans(0, 4, 0)
