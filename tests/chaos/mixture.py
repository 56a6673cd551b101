"""A mixture of faults as data: what befalls whom, for how long, and how long after the one before. Its seed is all.

Some strike once the run is whole again, the others when their time has come, in the middle of a recovery or not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from runtime.ids import Rank


class Ailment(Enum):
    """What may befall a run from outside."""

    KILL = "kill"
    """SIGKILL of a worker."""
    SEGFAULT = "segfault"
    """SIGSEGV of a worker: a crash in native code."""
    KILL_TWICE = "kill, and kill the one that heals"
    """SIGKILL of a worker, and of its successor as soon as that has joined."""
    KILL_TWO = "kill two at once"
    """SIGKILL of two workers in the same moment; of the only one where there is one."""
    COORDINATOR = "kill the coordinator"
    """SIGKILL of the coordinator's process."""
    PAUSE = "pause"
    """SIGSTOP of a worker and SIGCONT soon after: shorter than what is called hung."""
    FREEZE = "freeze"
    """SIGSTOP for good. To its peers a process that holds its interpreter's lock for 70 s looks the same: connected,
    silent, deaf to SIGTERM. (No signal makes a process hold its lock, so this is the nearest thing from outside.)"""
    MEMORY = "no memory"
    """The address space of a living worker is limited to what it has: its next large allocation fails."""
    SEVER = "sever a link"
    """Every connection between two workers is shut down."""
    FLAP = "flapping link"
    """The same several times, in short intervals."""
    SESSION = "sever a session"
    """Every connection between a worker and the coordinator is shut down."""
    DISK = "full disk"
    """No byte is left for checkpoints. (The journal is elsewhere: on a full disk it loses lines by design, and could
    prove nothing any more; `tests/e2e/test_full_disk.py` fills that one too.)"""
    SLOW = "slow worker"
    """A worker runs for half of the time: SIGSTOP and SIGCONT in turns."""

    @property
    def is_deadly(self) -> bool:
        """Whether whoever knows no healing has to start again: a process is lost, or hangs, or cannot go on."""
        return self not in {Ailment.PAUSE, Ailment.SLOW, Ailment.DISK}

    @property
    def victims(self) -> int:
        """How many workers it takes part in."""
        if self in {Ailment.COORDINATOR, Ailment.DISK}:
            return 0
        return 2 if self in {Ailment.KILL_TWO, Ailment.SEVER, Ailment.FLAP} else 1


LASTS_SECONDS = {
    Ailment.PAUSE: (0.2, 2.0),
    Ailment.MEMORY: (1.0, 3.0),
    Ailment.FLAP: (1.0, 3.0),
    Ailment.DISK: (1.0, 4.0),
    Ailment.SLOW: (2.0, 6.0),
}
"""Shortest and longest; the others are over at once, or by what they do."""
WEIGHTS = {Ailment.KILL: 4, Ailment.COORDINATOR: 2}
"""How often a kind is drawn, where that is not once."""


@dataclass(frozen=True)
class Blow:
    """One fault: `gap_seconds` after the one before, and if `once_whole`, not before the run is whole."""

    kind: Ailment
    ranks: tuple[Rank, ...]
    gap_seconds: float
    lasts_seconds: float
    once_whole: bool

    def __str__(self) -> str:
        whom = " and ".join(f"worker {rank}" for rank in self.ranks)
        lasts = f" for {self.lasts_seconds:.1f} s" if self.lasts_seconds else ""
        return f"{self.kind.value}{': ' if whom else ''}{whom}{lasts}"


def mixture(seed: int, *, faults: int, every: float, workers: int, kinds: Sequence[Ailment]) -> tuple[Blow, ...]:
    """`faults` blows of these kinds, one about each `every` seconds: the same for the same arguments, everywhere.

    While there are as many faults as kinds, each kind comes at least once.
    """
    if not kinds:
        raise ValueError("a mixture needs at least one kind of fault")
    draw = random.Random(seed)
    weights = [WEIGHTS.get(kind, 1) for kind in kinds]
    drawn = [*kinds, *draw.choices(list(kinds), weights, k=max(0, faults - len(kinds)))]
    draw.shuffle(drawn)
    return tuple(_blow(draw, kind, every, workers) for kind in drawn[:faults])


def _blow(draw: random.Random, kind: Ailment, every: float, workers: int) -> Blow:
    ranks = tuple(Rank(rank) for rank in draw.sample(range(workers), min(kind.victims, workers)))
    lasts = draw.uniform(*LASTS_SECONDS.get(kind, (0.0, 0.0)))
    return Blow(kind, ranks, draw.uniform(0.5, 1.5) * every, lasts, draw.random() < 0.5)
