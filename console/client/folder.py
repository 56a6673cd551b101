"""A run's folder without a monitor: the same picture from its journal. For runs that are over, and for replays."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from console.client.picture import MOST_EVENTS, HeardCurve, Picture
from runtime.events import Envelope, RunState, fold
from runtime.events.fold import is_notable
from runtime.events.replay import JournalReader
from runtime.view.build import view_of
from runtime.view.codec import cards_of
from runtime.view.gauges import Gauges
from runtime.view.metrics import chosen, history, names

MOST_POINTS = 512
FACTS_AT_ONCE = 16
"""Facts between two turns of whoever shares the loop: a millisecond."""
_BUSY_SECONDS = 0.001
_ASIDE_SECONDS = 0.01


async def aside() -> None:
    """Let everybody else of this loop have a turn; who has something to do (a key, a drawing) has the next ones too."""
    began = time.monotonic()
    await asyncio.sleep(0)
    if time.monotonic() - began > _BUSY_SECONDS:
        await asyncio.sleep(_ASIDE_SECONDS)


class RunFolder:
    """Follows `events.jsonl` of a run; call `look` whenever it may have grown, or `take` and `show` by turns."""

    def __init__(self, folder: Path, metrics: Iterable[str] = ("*",), picture: Picture | None = None) -> None:
        self.picture = picture or Picture()
        self.state = RunState()
        self._folder = folder
        self._metrics = tuple(metrics)
        self._reader = JournalReader(folder / "events.jsonl")
        self._facts: Iterator[Envelope] | None = None
        """In the middle of the file."""
        self._fresh: deque[Envelope] = deque(maxlen=MOST_EVENTS)
        """Events that were taken in and are not in the picture."""
        self._has_news = True

    @property
    def complaint(self) -> str:
        """One sentence on what is wrong with the journal; empty where nothing is."""
        return self._reader.complaint

    @property
    def share(self) -> float:
        """How much of the journal was taken in, 0 to 1. Raises OSError where it cannot be read."""
        return self._reader.share

    def watch(self, metrics: Iterable[str]) -> None:
        """From now on these curves, by name or pattern, and no others."""
        wished = tuple(metrics)
        if wished != self._metrics:
            self._metrics, self._has_news = wished, True

    def look(self) -> list[Envelope]:
        """Take in all that is new, show it, and return the events in it. Raises OSError where it cannot be read."""
        while self.take(FACTS_AT_ONCE):
            pass
        return self.show()

    def take(self, most: int) -> bool:
        """Take in so many more facts, which changes nothing that is shown; whether there may be others.

        Raises OSError where the journal cannot be read.
        """
        taken, facts = 0, self._facts or iter(self._reader)
        for envelope in islice(facts, most):
            taken += 1
            self.state = fold(self.state, envelope)
            if is_notable(envelope) and envelope.seq > self.picture.event_seq:
                self._fresh.append(envelope)
        self._has_news |= taken > 0
        self._facts = facts if taken == most else None
        return self._facts is not None

    def show(self) -> list[Envelope]:
        """Put what was taken in into the picture, as of the last fact's moment; returns the events that are new."""
        if not self._has_news and self.picture.is_journal:
            return []
        fresh = [envelope for envelope in self._fresh if envelope.seq > self.picture.event_seq]
        view = view_of(
            self.state, self.state.wall_seconds, Gauges(), folder=str(self._folder), before=self.picture.view
        )
        self.picture.metrics = names(self.state)
        self.picture.replayed(cards_of(view), fresh, self._curves(), self.state.wall_seconds)
        self._fresh.clear()
        self._has_news = False
        return fresh

    def _curves(self) -> dict[str, HeardCurve]:
        curves = {}
        for metric in chosen(self.state, self._metrics):
            piece = history(self.state, metric, most=MOST_POINTS)
            curves[metric] = HeardCurve(piece.width, {bucket.step // piece.width: bucket for bucket in piece.buckets})
        return curves
