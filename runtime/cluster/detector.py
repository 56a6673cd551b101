"""Who is hung: pure, fed with beats and with time.

Two faults look alike from outside and are told apart here. A worker that sends no beats at all is stopped (its trio
loop sends one each second). A worker that beats but stays in a phase of its own work is stuck on its device. A worker
that waits for others (exchange, vote, idle) is never accused: it waits because somebody else is. In its first step a
worker compiles and touches all of its memory, so there it may take ten times as long to get on. Where all of them stay
in their own work at once, they are rather slow together (a machine that is busy with something else) than broken
together, and replacing them all would lose the state: so then they have three times as long. The detector judges itself
first: if its own clock jumped (a sleeping laptop, a starved process), everybody gets a new start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.ids import Incarnation, Rank

OWN_WORK = frozenset({"feed", "compute", "apply"})
LOADING = "load"
"""What a process does until it has said anything else."""
PATIENT = frozenset({LOADING, "restore", "evaluate"})
"""Phases that are long by nature, and in which an import may keep the interpreter from beating."""
PATIENCE = 10.0
TOGETHER = 3.0
"""As much longer may own work take where every worker is at it, and beats."""
LAG_SECONDS = 5.0
"""A judge that was itself away for longer than this does not judge."""
_WEIGHT = 0.2


@dataclass(frozen=True)
class Hung:
    """A verdict: this incarnation made no progress for `quiet_seconds`."""

    rank: Rank
    incarnation: Incarnation
    phase: str
    quiet_seconds: float
    limit_seconds: float


@dataclass
class _Seen:
    incarnation: Incarnation
    place: tuple[int, str]
    beat_at: float
    moved_at: float
    first_step: int | None
    """The first step that it works on; None before that. It compiles there, and nobody knows how long that takes."""


@dataclass
class HangDetector:
    """Judges by max(floor, factor x the usual step time)."""

    factor: float
    floor_seconds: float
    _seen: dict[Rank, _Seen] = field(default_factory=dict)
    _places: dict[Rank, tuple[Incarnation, tuple[int, str]]] = field(default_factory=dict)
    """Also of those who are accused or over."""
    _usual_seconds: float = 0.0
    _judged_at: float | None = None

    @property
    def limit_seconds(self) -> float:
        """How long no progress is still patience."""
        return max(self.floor_seconds, self.factor * self._usual_seconds)

    def learn(self, step_seconds: float) -> None:
        """A step took this long: the usual time is a moving average of them."""
        known = self._usual_seconds
        self._usual_seconds = step_seconds if known == 0 else known + _WEIGHT * (step_seconds - known)

    def beat(self, rank: Rank, incarnation: Incarnation, step: int, phase: str, now: float) -> None:
        """A worker said where it is."""
        self._places[rank] = incarnation, (step, phase)
        seen = self._seen.get(rank)
        if seen is not None and (seen.incarnation, seen.place) == (incarnation, (step, phase)):
            seen.beat_at = now
            return
        first = seen.first_step if seen is not None and seen.incarnation == incarnation else None
        if first is None and phase in OWN_WORK:
            first = step
        self._seen[rank] = _Seen(incarnation, (step, phase), now, now, first)

    def place_of(self, rank: Rank, incarnation: Incarnation) -> tuple[int, str]:
        """The step and the phase that this incarnation was last heard of in; (0, "") where it was not."""
        known, place = self._places.get(rank, (None, (0, "")))
        return place if known == incarnation else (0, "")

    def forget(self, rank: Rank, incarnation: Incarnation) -> None:
        """That incarnation is over."""
        if rank in self._seen and self._seen[rank].incarnation == incarnation:
            del self._seen[rank]

    def judge(self, now: float) -> list[Hung]:
        """Whoever is hung now; each incarnation is accused once."""
        away = 0.0 if self._judged_at is None else now - self._judged_at
        self._judged_at = now
        if away > LAG_SECONDS:
            for seen in self._seen.values():
                seen.beat_at = seen.moved_at = now
            return []
        hung, together = [], self._are_slow_together(now)
        for rank, seen in list(self._seen.items()):
            exceeded = [(quiet, limit) for quiet, limit in self._waits(seen, now, together) if quiet > limit]
            if exceeded:
                hung.append(Hung(rank, seen.incarnation, seen.place[1], *max(exceeded)))
                del self._seen[rank]
        return hung

    def _are_slow_together(self, now: float) -> bool:
        """Whether several are past loading, and all of these have been in their own work for long."""
        at_work = [seen for seen in self._seen.values() if seen.place[1] not in PATIENT]
        long = self.limit_seconds / 2
        return len(at_work) > 1 and all(seen.place[1] in OWN_WORK and now - seen.moved_at > long for seen in at_work)

    def _waits(self, seen: _Seen, now: float, together: bool) -> list[tuple[float, float]]:
        """(seconds so far, most of them): without a beat, and in its own work without getting on."""
        step, phase = seen.place
        waits = [(now - seen.beat_at, self.limit_seconds * (PATIENCE if phase in PATIENT else 1.0))]
        if phase in OWN_WORK:
            patience = PATIENCE if step == seen.first_step else TOGETHER if together else 1.0
            waits.append((now - seen.moved_at, self.limit_seconds * patience))
        return waits
