"""What a console has heard of a run: rows, events and curves put together from frames. Pure: time is an argument.

A frame may come twice, or again from another monitor process: nothing is doubled by it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from mlxd_wire import monitor_pb2 as pb

from runtime.events import Envelope
from runtime.events.curve import Bucket
from runtime.events.journal import decode_line
from runtime.view.cards import RunView
from runtime.view.codec import Place, decode, patched, view_from

Liveness: TypeAlias = Literal["connecting", "live", "stale", "replay"]
"""stale: nothing was heard for so long that what is shown may be wrong. replay: from a journal, nobody lives."""
STALE_SECONDS = 3.0
MOST_EVENTS = 5000


@dataclass
class HeardCurve:
    """A metric: its buckets by number, oldest first; bucket k holds the steps from k * width on."""

    width: int = 1
    buckets: dict[int, Bucket] = field(default_factory=dict)


class Picture:
    """Belongs to whoever draws; `take` is the only way in."""

    def __init__(self) -> None:
        self.epoch = 0
        self.version = 0
        self.event_seq = 0
        """The journal's number of the newest event that was heard."""
        self.dropped = 0
        self.interval_seconds = 0.0
        """Between two frames with news, as the monitor has it now."""
        self.events: deque[Envelope] = deque(maxlen=MOST_EVENTS)
        self.curves: dict[str, HeardCurve] = {}
        self.metrics: tuple[str, ...] = ()
        """Names of all curves that the run has, heard or not."""
        self.changes = 0
        """Grows with everything that changes what is drawn."""
        self.clock_offset_seconds = 0.0
        """The monitor's clock minus ours."""
        self.expects_monitor = False
        """The journal that is shown is of a run that lives: its monitor will be heard soon."""
        self.read_share: float | None = None
        """How much of a long journal was read so far, 0 to 1, while that is read; what is shown is of before."""
        self.told_seconds = 0.0
        """Unix time of the newest fact of a journal."""
        self._cards: dict[Place, Any] = {}
        self._view: RunView | None = None
        self._heard_seconds: float | None = None
        self._is_replay = False

    @property
    def view(self) -> RunView:
        """All rows; the same object until one changes."""
        if self._view is None:
            self._view = view_from(self._cards.items())
        return self._view

    @property
    def has_rows(self) -> bool:
        """Whether anything at all is known."""
        return bool(self._cards)

    @property
    def is_journal(self) -> bool:
        """What is known was read from a journal, not heard."""
        return self._is_replay

    def age_seconds(self, now_seconds: float) -> float | None:
        """How long ago anything was heard, on a clock that never jumps; None before the first time."""
        return None if self._heard_seconds is None else max(0.0, now_seconds - self._heard_seconds)

    def liveness(self, now_seconds: float) -> Liveness:
        """Whether what is shown may be believed."""
        if self._is_replay:
            return "connecting" if self.expects_monitor else "replay"
        age = self.age_seconds(now_seconds)
        if age is None:
            return "connecting"
        return "stale" if age >= STALE_SECONDS else "live"

    def want(self, want: pb.Want) -> pb.Want:
        """`want`, with what is here already."""
        asked = pb.Want()
        asked.CopyFrom(want)
        asked.epoch, asked.version, asked.event_seq = self.epoch, self.version, self.event_seq
        return asked

    def take(self, frame: pb.Frame, now_seconds: float, wall_seconds: float) -> list[Envelope]:
        """Put a frame in; returns the events in it that are new. `now_seconds` is on a clock that never jumps."""
        self._heard_seconds, self._is_replay = now_seconds, False
        self.clock_offset_seconds = frame.wall_seconds - wall_seconds
        self.interval_seconds = frame.interval_seconds
        if frame.is_whole:
            self._cards.clear()
            self._view = None
        if frame.epoch != self.epoch and not frame.is_whole:
            return []  # a heartbeat before the first whole frame of another monitor process
        self.epoch, self.version, self.dropped = frame.epoch, frame.version, frame.dropped
        for row in frame.rows:
            self._put((row.topic, row.key), self._card_of(row))
        for piece in frame.pieces:
            self._draw(piece)
        if frame.metrics:
            self.metrics = tuple(frame.metrics)
        fresh = [envelope for envelope in map(_readable, frame.events) if envelope is not None]
        fresh = [envelope for envelope in fresh if envelope.seq > self.event_seq]
        self.events.extend(fresh)
        if fresh:
            self.event_seq = fresh[-1].seq
        if fresh or frame.rows or frame.pieces or frame.metrics or frame.is_whole:
            self.changes += 1
        return fresh

    def replayed(
        self,
        cards: dict[Place, Any],
        events: list[Envelope],
        curves: dict[str, HeardCurve],
        told_seconds: float = 0.0,
    ) -> None:
        """Put in what a journal tells: all rows, the events since the last time, all curves, the time of all that."""
        self.told_seconds = told_seconds
        if cards != self._cards or events or curves != self.curves:
            self.changes += 1
        self._cards, self._view, self._is_replay, self.curves = cards, None, True, curves
        self.epoch = self.version = 0
        self.events.extend(events)
        if events:
            self.event_seq = events[-1].seq

    def _card_of(self, row: pb.Row) -> Any | None:
        """The card that the row makes; None where it is gone, or cannot be read."""
        if not row.card:
            return None
        if not row.is_part:
            return decode(row.topic, row.card)
        before = self._cards.get((row.topic, row.key))
        return patched(row.topic, before, row.card) if before is not None else None

    def _put(self, place: Place, card: Any | None) -> None:
        self._view = None
        if card is None:
            self._cards.pop(place, None)
        else:
            self._cards[place] = card

    def _draw(self, piece: pb.Piece) -> None:
        curve = self.curves.get(piece.metric)
        if curve is None or piece.is_whole or curve.width != piece.width:
            curve = self.curves[piece.metric] = HeardCurve(piece.width)
        curve.buckets |= {bucket.step // piece.width: bucket for bucket in buckets_of(piece)}


def buckets_of(piece: pb.Piece) -> list[Bucket]:
    """The buckets of a message."""
    if not piece.values:  # each of them holds one value
        pairs = zip(piece.steps, piece.last, strict=True)
        return [Bucket(step, value, value, value, value, value, 1) for step, value in pairs]
    columns = (piece.steps, piece.first, piece.last, piece.minimum, piece.maximum, piece.total, piece.values)
    return [Bucket(*values) for values in zip(*columns, strict=True)]


def _readable(line: bytes) -> Envelope | None:
    try:
        return decode_line(line)
    except ValueError:
        return None
