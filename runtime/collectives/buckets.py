"""Cuts the N elements of a flat gradient into buckets, each bucket into one slice per owner, each slice into pieces.

A bucket bounds what is in flight, a slice is what one rank sums, a piece is what one message carries.
Everything here follows from (N, sizes, owners) alone, so every rank computes the same cut without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from runtime.ids import Rank

ALIGN_ELEMENTS = 16
"""Slices begin at multiples of this (64 bytes of fp32: one cache line), where the bucket is large enough."""


@dataclass(frozen=True)
class Piece:
    """Elements `start` to `stop` (exclusive), summed by `owner` and carried by one message per sender and direction."""

    index: int
    bucket: int
    owner: Rank
    start: int
    stop: int

    @property
    def elements(self) -> int:
        """How many elements the piece holds, at least 1."""
        return self.stop - self.start


def spans(start: int, stop: int, longest: int) -> list[tuple[int, int]]:
    """`start .. stop` in consecutive spans of `longest` elements; the last one may be shorter."""
    if longest < 1:
        raise ValueError(f"a span needs at least one element, not {longest}")
    return [(at, min(at + longest, stop)) for at in range(start, stop, longest)]


def shares(start: int, stop: int, count: int) -> list[tuple[int, int]]:
    """`start .. stop` in `count` nearly equal shares, cut at cache lines; some may be empty."""
    lines = -(-(stop - start) // ALIGN_ELEMENTS)
    cuts = [min(start + lines * i // count * ALIGN_ELEMENTS, stop) for i in range(count + 1)]
    return list(pairwise(cuts))


@lru_cache(maxsize=16)
def cut(elements: int, owners: tuple[Rank, ...], bucket_elements: int, piece_elements: int) -> tuple[Piece, ...]:
    """Every piece of a flat vector of `elements`, by bucket, then round the owners so that all start at once."""
    pieces: list[Piece] = []
    for bucket, (start, stop) in enumerate(spans(0, elements, bucket_elements)):
        slices = [spans(*share, piece_elements) for share in shares(start, stop, len(owners))]
        for turn in range(max(len(each) for each in slices)):
            for owner, each in zip(owners, slices, strict=True):
                if turn < len(each):
                    pieces.append(Piece(len(pieces), bucket, owner, *each[turn]))
    return tuple(pieces)


@lru_cache(maxsize=16)
def owned(
    elements: int, owners: tuple[Rank, ...], bucket_elements: int, piece_elements: int
) -> dict[Rank, tuple[Piece, ...]]:
    """The pieces of `cut` by their owner; a cached value that nobody may change."""
    pieces: dict[Rank, list[Piece]] = {owner: [] for owner in owners}
    for piece in cut(elements, owners, bucket_elements, piece_elements):
        pieces[piece.owner].append(piece)
    return {owner: tuple(each) for owner, each in pieces.items()}
