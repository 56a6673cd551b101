"""The hand that deals the blows of a mixture to a running run, and writes down whom it met and when."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.ids import Incarnation, Rank, Step
from tests.chaos import links
from tests.chaos.disk import Disk
from tests.chaos.injector import Injector
from tests.chaos.mixture import Ailment, Blow
from tests.support.waiting import let_pass

FLAP_SECONDS = 0.3
DUTY_SECONDS = 0.1
"""A slow worker stands still for this long, then runs for this long."""
HEADROOM_BYTES = 1 << 20


@dataclass(frozen=True)
class Victim:
    """A process that was met; rank None is the coordinator."""

    rank: Rank | None
    pid: int
    incarnation: Incarnation


@dataclass(frozen=True)
class Struck:
    """A blow that was dealt."""

    blow: Blow
    victims: tuple[Victim, ...]
    wall_seconds: float
    """Unix time just before."""
    ended_seconds: float
    """Unix time at which the hand let go."""
    step: Step
    """The last committed step that the journal knew then."""
    note: str = ""
    """What a reader should know: that nobody was there, that the second blow came too late, ..."""


class Hand:
    """Deals blows through an injector, which follows the run."""

    def __init__(self, injector: Injector, disk: Disk | None) -> None:
        self._injector, self._disk = injector, disk
        self._note = ""
        self._met: list[Victim] = []
        self._acts: dict[Ailment, Callable[[Blow], None]] = {
            Ailment.KILL: lambda blow: self._signal(blow, signal.SIGKILL),
            Ailment.SEGFAULT: lambda blow: self._signal(blow, signal.SIGSEGV),
            Ailment.KILL_TWO: lambda blow: self._signal(blow, signal.SIGKILL),
            Ailment.FREEZE: lambda blow: self._signal(blow, signal.SIGSTOP),
            Ailment.COORDINATOR: lambda blow: self._signal(blow, signal.SIGKILL),
            Ailment.KILL_TWICE: self._kill_twice,
            Ailment.PAUSE: self._pause,
            Ailment.SLOW: self._slow,
            Ailment.MEMORY: self._take_memory,
            Ailment.SEVER: lambda _: self._cut(),
            Ailment.FLAP: self._flap,
            Ailment.SESSION: lambda _: self._cut(),
            Ailment.DISK: self._fill_disk,
        }

    def deal(self, blow: Blow) -> Struck:
        """Deal it now to whoever is there; returns when it is over. Somebody who is down already is left in peace."""
        self._injector.follow()
        self._note, self._met = "", []
        whom = (None,) if blow.kind in {Ailment.COORDINATOR, Ailment.SESSION} else ()
        for rank in (*whom, *blow.ranks):
            self._meet(rank)
        step, wall = self._injector.scene.step, time.time()
        if not self._note:
            self._acts[blow.kind](blow)
        return Struck(blow, tuple(self._met), wall, time.time(), step, self._note)

    def _meet(self, rank: Rank | None) -> None:
        target = self._injector.scene.process_of(rank)
        if target is None:
            self._note = f"{'the coordinator' if rank is None else f'worker {rank}'} was down"
        else:
            self._met.append(Victim(rank, *target))

    def _signal(self, _: Blow, number: signal.Signals) -> None:
        for victim in self._met:
            _send(victim.pid, number)

    def _kill_twice(self, blow: Blow) -> None:
        (first,) = self._met
        rank, scene = blow.ranks[0], self._injector.scene
        _send(first.pid, signal.SIGKILL)
        self._injector.wait_for(
            lambda: scene.joined.get(rank, 0) > first.incarnation and scene.process_of(rank) is not None,
            f"nobody took the place of worker {rank}",
        )
        self._meet(rank)
        if rank in scene.healed:
            self._note = "it had healed before the second blow"
        _send(self._met[-1].pid, signal.SIGKILL)

    def _pause(self, blow: Blow) -> None:
        self._stand_still(blow.lasts_seconds)

    def _slow(self, blow: Blow) -> None:
        until = time.monotonic() + blow.lasts_seconds
        while time.monotonic() < until:
            self._stand_still(DUTY_SECONDS)
            let_pass(DUTY_SECONDS)

    def _stand_still(self, seconds: float) -> None:
        self._signal_all(signal.SIGSTOP)
        try:
            let_pass(seconds)
        finally:
            self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        for victim in self._met:
            _send(victim.pid, number)

    def _take_memory(self, blow: Blow) -> None:
        (victim,) = self._met
        with suppress(ProcessLookupError):
            _, hard = resource.prlimit(victim.pid, resource.RLIMIT_AS)
            resource.prlimit(victim.pid, resource.RLIMIT_AS, (_mapped_bytes(victim.pid) + HEADROOM_BYTES, hard))
            let_pass(blow.lasts_seconds)
            resource.prlimit(victim.pid, resource.RLIMIT_AS, (hard, hard))

    def _cut(self) -> int:
        first, *others = self._met
        number = sum(links.cut(first.pid, other.pid) for other in others)
        self._note = "" if number else "there was no connection"
        return number

    def _flap(self, blow: Blow) -> None:
        until, cuts = time.monotonic() + blow.lasts_seconds, 0
        while time.monotonic() < until:
            cuts += self._cut()
            let_pass(FLAP_SECONDS)
        self._note = f"{cuts} connections were cut"

    def _fill_disk(self, blow: Blow) -> None:
        if self._disk is None:
            self._note = "there is no small disk"
            return
        self._disk.fill()
        try:
            let_pass(blow.lasts_seconds)
        finally:
            self._disk.clear()


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended in this moment, and is whatever it would have been
        os.kill(pid, number)


def _mapped_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    except FileNotFoundError as gone:
        raise ProcessLookupError(pid) from gone
    return pages * os.sysconf("SC_PAGE_SIZE")
