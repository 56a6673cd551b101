"""A run's folder without a monitor: the same picture from its journal. For runs that are over, and for replays."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from console.client.picture import HeardCurve, Picture
from runtime.events import Envelope, RunState, fold
from runtime.events.fold import is_notable
from runtime.events.replay import JournalReader
from runtime.view.build import view_of
from runtime.view.codec import cards_of
from runtime.view.gauges import Gauges
from runtime.view.metrics import chosen, history

MOST_POINTS = 512


class RunFolder:
    """Follows `events.jsonl` of a run; call `look` whenever it may have grown."""

    def __init__(self, folder: Path, metrics: Iterable[str] = ("*",), picture: Picture | None = None) -> None:
        self.picture = picture or Picture()
        self.state = RunState()
        self._folder = folder
        self._metrics = tuple(metrics)
        self._reader = JournalReader(folder / "events.jsonl")
        self._waiting: Envelope | None = None
        """Read, but of a later time than was asked for."""

    @property
    def complaint(self) -> str:
        """One sentence on what is wrong with the journal; empty where nothing is."""
        return self._reader.complaint

    def look(self, until_seconds: float | None = None) -> list[Envelope]:
        """Take in what is new, and return the events in it.

        With `until_seconds` (Unix time) only the facts until then: a replay. The picture is of the last fact's moment.
        Raises OSError where the journal cannot be read.
        """
        fresh = []
        for envelope in chain([self._waiting] if self._waiting else [], self._reader):
            if until_seconds is not None and envelope.wall_seconds > until_seconds:
                self._waiting = envelope
                break
            self._waiting = None
            self.state = fold(self.state, envelope)
            if is_notable(envelope) and envelope.seq > self.picture.event_seq:
                fresh.append(envelope)
        view = view_of(
            self.state, self.state.wall_seconds, Gauges(), folder=str(self._folder), before=self.picture.view
        )
        self.picture.replayed(cards_of(view), fresh, self._curves(), self.state.wall_seconds)
        return fresh

    def _curves(self) -> dict[str, HeardCurve]:
        curves = {}
        for metric in chosen(self.state, self._metrics):
            piece = history(self.state, metric, most=MOST_POINTS)
            curves[metric] = HeardCurve(piece.width, {bucket.step // piece.width: bucket for bucket in piece.buckets})
        return curves
