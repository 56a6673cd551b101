"""A run that is over, or the past of one that lives, at any moment of its journal: forward, back, or as a film.

The journal is read once for its times; states are kept at some places of it: any moment is a short way from one.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from console.client.folder import FACTS_AT_ONCE, MOST_POINTS, aside
from console.client.picture import HeardCurve, Picture
from runtime.events import Envelope, RunState, fold
from runtime.events.fold import is_notable
from runtime.events.journal import decode_line
from runtime.view.build import view_of
from runtime.view.codec import cards_of
from runtime.view.gauges import Gauges
from runtime.view.metrics import history, names

FILM_SECONDS = 60.0
"""So long a whole run takes as a film."""
FRAME_SECONDS = 0.5
_EVERY = 256
"""Facts between two kept states."""


class _Place(NamedTuple):
    seconds: float
    offset_bytes: int
    state: RunState


class ReplayFeed:
    """Belongs to one asyncio loop; `seek`, `step` and `play` move it."""

    def __init__(self, folder: Path) -> None:
        self.picture = Picture()
        self.trouble = ""
        self.begin_seconds = 0.0
        self.end_seconds = 0.0
        self.at_seconds = 0.0
        self.marks: tuple[float, ...] = ()
        """When something notable happened, oldest first."""
        self.is_playing = False
        self._folder = folder
        self._journal = folder / "events.jsonl"
        self._places: list[_Place] = []

    @property
    def speed(self) -> float:
        """Seconds of the run in a second of the film."""
        return max(1.0, (self.end_seconds - self.begin_seconds) / FILM_SECONDS)

    def watch(self, metrics: Iterable[str]) -> None:
        """A journal gives all of them."""

    async def run(self) -> None:
        """Read the journal once, show its beginning, then play whenever somebody wants."""
        try:
            await self._read()
        except OSError as failed:
            self.trouble = f"{self._journal} cannot be read: {failed.strerror}"
            return
        if self._places:
            self.seek(self.begin_seconds)
        before = time.monotonic()
        while True:
            await asyncio.sleep(FRAME_SECONDS)
            now = time.monotonic()
            if self.is_playing:
                self.seek(self.at_seconds + (now - before) * self.speed)
                self.is_playing = self.at_seconds < self.end_seconds
            before = now

    def seek(self, wall_seconds: float) -> None:
        """Show the run as it was at that time (the first fact is never left, nor the last one)."""
        if not self._places:
            return
        self.at_seconds = min(self.end_seconds, max(self.begin_seconds, wall_seconds))
        place = self._places[max(0, bisect_right([each.seconds for each in self._places], self.at_seconds) - 1)]
        state = place.state
        for envelope, _ in _envelopes(self._journal, place.offset_bytes):
            if envelope.wall_seconds > self.at_seconds:
                break
            state = fold(state, envelope)
        self._show(state)

    def step(self, by: int) -> None:
        """To the next notable fact, or (-1) to the one before."""
        ahead = [mark for mark in self.marks if (mark > self.at_seconds if by > 0 else mark < self.at_seconds)]
        if ahead:
            self.seek(ahead[0] if by > 0 else ahead[-1])

    def scrub(self, share: float) -> None:
        """On or back by a part of the whole run."""
        self.seek(self.at_seconds + share * (self.end_seconds - self.begin_seconds))

    def play(self) -> None:
        """As a film from here on, or (from the end) from the beginning; or stop."""
        self.is_playing = not self.is_playing
        if self.is_playing and self.at_seconds >= self.end_seconds:
            self.seek(self.begin_seconds)

    async def _read(self) -> None:
        state, marks, size_bytes = RunState(), [], max(1, self._journal.stat().st_size)
        for count, (envelope, offset) in enumerate(_envelopes(self._journal, 0)):
            if count % _EVERY == 0:
                self._places.append(_Place(max(envelope.wall_seconds, state.wall_seconds), offset, state))
            if count % FACTS_AT_ONCE == FACTS_AT_ONCE - 1:
                self.picture.read_share = offset / size_bytes
                await aside()
            state = fold(state, envelope)
            if is_notable(envelope):
                marks.append(envelope.wall_seconds)
        self.picture.read_share = None
        self.marks = tuple(sorted({*marks}))
        if self._places:
            self.begin_seconds, self.end_seconds = self._places[0].seconds, state.wall_seconds

    def _show(self, state: RunState) -> None:
        view = view_of(state, self.at_seconds, Gauges(), folder=str(self._folder))
        curves = {}
        for metric in names(state):
            piece = history(state, metric, most=MOST_POINTS)
            curves[metric] = HeardCurve(piece.width, {bucket.step // piece.width: bucket for bucket in piece.buckets})
        self.picture.events.clear()
        self.picture.replayed(cards_of(view), list(state.notable), curves, self.at_seconds)


def _envelopes(journal: Path, offset_bytes: int) -> Iterator[tuple[Envelope, int]]:
    """The readable facts from there on, each with where its line begins. Raises OSError."""
    with journal.open("rb") as file:
        file.seek(offset_bytes)
        for raw in file:
            begin, offset_bytes = offset_bytes, offset_bytes + len(raw)
            if not raw.endswith(b"\n"):
                return
            try:
                yield decode_line(raw), begin
            except ValueError:
                continue
