"""One reader of the board: what it has, and so what its next frame holds; and how often it can take one. Pure."""

from __future__ import annotations

from mlxd_wire import monitor_pb2 as pb

from runtime.app.watching.board import Board
from runtime.app.watching.wire import Wish, piece_of
from runtime.events import RunState
from runtime.view.metrics import chosen, history, names, since

MOST_EVENTS_AT_ONCE = 256
SLOWEST_SECONDS = 16.0


class Reader:
    """A console's place on the board. Its first message says what it has from before."""

    def __init__(self, board: Board, want: pb.Want) -> None:
        self._board = board
        self.wish = Wish.of(want)
        self.interval_seconds = self.wish.interval_seconds
        self._has_rows = want.epoch == board.epoch and want.version > 0
        self._version = want.version if self._has_rows else 0
        self._seq = want.event_seq
        self._dropped = 0
        self._curves: dict[str, tuple[int, int]] = {}
        """Metric -> (width of its buckets, newest step) of what it has."""
        self._again: int | None = None
        self._names: tuple[str, ...] = ()
        """Of the curves that there are, as it was told."""

    def wants(self, want: pb.Want) -> None:
        """From now on it wants something else. Other topics: it gets all of their rows."""
        before, self.wish = self.wish, Wish.of(want)
        self.interval_seconds = self.wish.interval_seconds
        if before.topics != self.wish.topics:
            self._has_rows = False
        wanted = set(self.wish.metrics)
        if wanted != set(before.metrics) or before.most_points != self.wish.most_points:
            self._curves.clear()

    def took(self, seconds: float) -> None:
        """A frame took so long to send: a slow reader gets half as many, one that is quick again twice as many."""
        if seconds > self.interval_seconds:
            self.interval_seconds = min(SLOWEST_SECONDS, self.interval_seconds * 2)
        elif seconds < self.interval_seconds / 4:
            self.interval_seconds = max(self.wish.interval_seconds, self.interval_seconds / 2)

    def next_frame(self, state: RunState, wall_seconds: float) -> pb.Frame:
        """What it lacks, and nothing else; the next call takes for granted that it has got this one."""
        board = self._board
        frame = pb.Frame(
            epoch=board.epoch,
            version=board.version,
            event_seq=board.event_seq,
            wall_seconds=wall_seconds,
            interval_seconds=self.interval_seconds,
        )
        rows = board.rows_since(self._version, self.wish.topics) if self._has_rows else None
        if rows is None:
            frame.is_whole = True
            rows = board.rows(self.wish.topics)
        frame.rows.extend(
            pb.Row(topic=told.place[0], key=told.place[1], card=told.data, is_part=told.is_part) for told in rows
        )
        self._has_rows, self._version = True, board.version
        if self.wish.events:
            self._add_events(frame)
        frame.pieces.extend(self._pieces(state))
        if (known := names(state)) != self._names:
            self._names = known
            frame.metrics.extend(known)
        frame.dropped = self._dropped
        return frame

    def heartbeat(self, wall_seconds: float) -> pb.Frame:
        """A frame that says nothing but that the monitor lives."""
        return pb.Frame(
            epoch=self._board.epoch,
            version=self._version,
            event_seq=self._board.event_seq,
            wall_seconds=wall_seconds,
            dropped=self._dropped,
            interval_seconds=self.interval_seconds,
        )

    def _add_events(self, frame: pb.Frame) -> None:
        board = self._board
        fresh = board.events_since(self._seq, MOST_EVENTS_AT_ONCE)
        if not fresh:
            return
        if self._seq and board.lost_after(self._seq):
            self._dropped += max(0, fresh[0][0] - self._seq - 1)  # at most: numbers of facts that are no events too
        frame.events.extend(line for _, line in fresh)
        self._seq = fresh[-1][0]

    def _pieces(self, state: RunState) -> list[pb.Piece]:
        again = state.training.committed - state.training.step  # grows with each step that is done once more
        if again != self._again:
            self._again = again
            self._curves.clear()
        pieces = []
        for metric in chosen(state, self.wish.metrics):
            width, step = self._curves.get(metric, (0, 0))
            is_fine = width and state.training.step // width <= 2 * self.wish.most_points
            fresh = since(state, metric, width, step) if is_fine else None
            piece = fresh or history(state, metric, most=self.wish.most_points)
            if piece.buckets and (fresh is None or piece.buckets[-1].step > step):
                self._curves[metric] = piece.width, piece.buckets[-1].step
                pieces.append(piece_of(piece, is_whole=fresh is None))
        return pieces
