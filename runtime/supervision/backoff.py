"""How long to wait before a restart, and when to stop restarting: pure functions of counts and times."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential delay between restarts of one child, with jitter so that many do not return at once."""

    first: float = 0.5
    """Seconds before the first restart."""
    factor: float = 2.0
    cap: float = 30.0
    """No delay is longer than this many seconds (before jitter)."""
    jitter: float = 0.2
    """A delay grows by a random part of at most this fraction."""
    stable_after: float = 60.0
    """A child that was ready for this many seconds starts again from the first delay."""

    def __post_init__(self) -> None:
        if self.first < 0 or self.cap < self.first or self.jitter < 0 or self.stable_after < 0:
            raise ValueError(f"a backoff needs 0 <= first <= cap, jitter >= 0 and stable_after >= 0: {self}")
        if self.factor < 1:
            raise ValueError(f"a backoff must not shrink: factor {self.factor:g} is below 1")

    def delay(self, failures: int, u: float) -> float:
        """Seconds to wait after `failures` (1, 2, ...) failures in a row; `u` in [0, 1) is the random part."""
        growth = self.factor ** min(failures - 1, 1000 if self.factor == 1 else 64)
        return min(self.cap, self.first * growth) * (1 + self.jitter * u)

    def longest_burst(self, intensity: int) -> float:
        """Seconds that the first `intensity` delays of one child last at most."""
        return sum(self.delay(count, 1.0) for count in range(1, intensity + 1))


def record_failure(
    failures: tuple[float, ...], now: float, intensity: int, period_seconds: float
) -> tuple[tuple[float, ...], bool]:
    """The failures within the last period including one now, and whether one more restart is allowed."""
    recent = (*(at for at in failures if at > now - period_seconds), now)
    return recent, len(recent) <= intensity
