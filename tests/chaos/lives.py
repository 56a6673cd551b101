"""What each process of a run occupied while it lived, and whether that grew. Pure, but for `look`. Needs /proc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import linear_regression

from tests.chaos.census import role_of
from tests.support.processes import PROC, Seen

WARM_UP = 0.2
"""Share of a life that is left out of its slope: caches fill, and the heap finds its size."""
FEWEST = 5
"""Looks without which there is no slope."""


@dataclass(frozen=True)
class Look:
    """One process at one moment."""

    wall_seconds: float
    pid: int
    role: str
    resident_kib: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Life:
    """One process from the first look to the last."""

    pid: int
    role: str
    seconds: float
    first: Look
    last: Look
    mib_per_hour: float | None
    """Slope of its resident memory after the warm-up, by least squares; None where it was seen too seldom."""

    def __str__(self) -> str:
        slope = "-" if self.mib_per_hour is None else f"{self.mib_per_hour:+.1f} MiB/h"
        return (
            f"{self.role:<12} pid {self.pid:<8} {self.seconds / 60:7.1f} min   "
            f"{self.first.resident_kib / 1024:6.0f} -> {self.last.resident_kib / 1024:.0f} MiB ({slope})   "
            f"{self.first.descriptors} -> {self.last.descriptors} fds   "
            f"{self.first.threads} -> {self.last.threads} threads"
        )


def look(alive: Iterable[Seen], wall_seconds: float) -> list[Look]:
    """What these processes occupy now; one that ends meanwhile is left out."""
    found = []
    for seen in alive:
        folder = PROC / str(seen.pid)
        try:
            descriptors = len(list((folder / "fd").iterdir()))
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            resident, threads = int(status["VmRSS"].split()[0]), int(status["Threads"])
        except (OSError, KeyError):  # gone, or a zombie
            continue
        found.append(Look(wall_seconds, seen.pid, role_of(seen.command), resident, descriptors, threads))
    return found


def lives(looks: Sequence[Look], at_least_seconds: float) -> list[Life]:
    """The processes that lived that long, in the order in which they were first seen."""
    by_pid: dict[int, list[Look]] = {}
    for one in looks:
        by_pid.setdefault(one.pid, []).append(one)
    found = [_life(of_one) for of_one in by_pid.values()]
    return [life for life in found if life.seconds >= at_least_seconds]


def _life(looks: list[Look]) -> Life:
    first, last = looks[0], looks[-1]
    seconds = last.wall_seconds - first.wall_seconds
    warm = [one for one in looks if one.wall_seconds >= first.wall_seconds + WARM_UP * seconds]
    slope = None
    if len(warm) >= FEWEST:
        hours = [(one.wall_seconds - first.wall_seconds) / 3600 for one in warm]
        slope = linear_regression(hours, [one.resident_kib / 1024 for one in warm]).slope
    return Life(first.pid, last.role, seconds, first, last, slope)
