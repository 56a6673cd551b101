"""Curves as messages, and what a reader asks for as values."""

from __future__ import annotations

from dataclasses import dataclass

from mlxd_wire import monitor_pb2 as pb

from runtime.view.metrics import Piece

MOST_HZ = 10.0
DEFAULT_POINTS = 512
MOST_POINTS = 4096


@dataclass(frozen=True)
class Wish:
    """What a reader wants, within what it may."""

    topics: frozenset[str]
    metrics: tuple[str, ...]
    events: bool
    interval_seconds: float
    """Between two frames with news, at least."""
    most_points: int

    @classmethod
    def of(cls, want: pb.Want) -> Wish:
        """The wish that a message states."""
        hertz = min(MOST_HZ, want.max_hz) if want.max_hz > 0 else 1.0
        return cls(frozenset(want.topics), tuple(want.metrics), want.events, 1.0 / hertz, points_of(want.max_points))


def points_of(asked: int) -> int:
    """How many buckets a curve may have: what was asked for, up to a limit."""
    return min(asked, MOST_POINTS) or DEFAULT_POINTS


def piece_of(piece: Piece, *, is_whole: bool) -> pb.Piece:
    """Part of a curve as a message."""
    buckets = piece.buckets
    if all(bucket.values == 1 for bucket in buckets):  # a fifth of the bytes, while buckets are as narrow as steps
        steps, last = [bucket.step for bucket in buckets], [bucket.last for bucket in buckets]
        return pb.Piece(metric=piece.metric, width=piece.width, is_whole=is_whole, steps=steps, last=last)
    return pb.Piece(
        metric=piece.metric,
        width=piece.width,
        is_whole=is_whole,
        steps=[bucket.step for bucket in buckets],
        first=[bucket.first for bucket in buckets],
        last=[bucket.last for bucket in buckets],
        minimum=[bucket.minimum for bucket in buckets],
        maximum=[bucket.maximum for bucket in buckets],
        total=[bucket.total for bucket in buckets],
        values=[bucket.values for bucket in buckets],
    )
