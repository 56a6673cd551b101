"""Workers that are all alive and cannot reach each other: who is left out, and for how long. Pure.

An exchange that fails though nobody died is ordered again, each time after a longer wait: most links come back. If the
step cannot be finished for long, one worker is left out: the one that most others complain about, and of two that
complain about each other the one of higher rank. It keeps its session and may come back as a newcomer, later each
time that it was left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from runtime.ids import Rank

RETRY_SECONDS = 0.25
"""How long a failed exchange waits for the news of who died before the step is simply ordered again ..."""
BACKOFF = 2.0
"""... and how much longer each further time ..."""
MOST_RETRIES = 4
"""... and how often, before somebody is left out."""
EXILE_SECONDS = 30.0
"""How long for, the first time; twice as long each further time."""


@dataclass
class Quarrel:
    """Failed exchanges of the step under way, and who is left out because of earlier ones."""

    failures: int = 0
    exiles: dict[Rank, float] = field(default_factory=dict)
    """Rank -> until when it is left out."""
    _complaints: set[tuple[Rank, Rank]] = field(default_factory=set)
    """(who complained, about whom)"""
    _exiled: Counter[Rank] = field(default_factory=Counter)

    @property
    def wait_seconds(self) -> float:
        """How long to wait before the step is ordered again."""
        return RETRY_SECONDS * BACKOFF ** min(self.failures, MOST_RETRIES)

    def complain(self, rank: Rank, about: int) -> None:
        """`rank` could not have the sum because of `about` (-1: it does not know)."""
        if about >= 0 and about != rank:
            self._complaints.add((rank, Rank(about)))

    def settled(self) -> None:
        """The step was finished."""
        self.failures = 0
        self._complaints.clear()

    def failed(self, members: tuple[Rank, ...], now: float) -> Rank | None:
        """The wait is over, and nobody died; returns the member that is left out from now on, if any must be."""
        self.failures += 1
        accused = Counter(about for rank, about in self._complaints if about in members and rank in members)
        if self.failures <= MOST_RETRIES or not accused:
            return None
        culprit = max(accused, key=lambda rank: (accused[rank], rank))
        self.exiles[culprit] = now + EXILE_SECONDS * 2 ** self._exiled[culprit]
        self._exiled[culprit] += 1
        self.settled()
        return culprit

    def forgive(self, now: float) -> None:
        """Whose time is over may come back."""
        self.exiles = {rank: until for rank, until in self.exiles.items() if until > now}

    def forgive_everybody(self) -> None:
        """Nobody can be done without."""
        self.exiles.clear()
