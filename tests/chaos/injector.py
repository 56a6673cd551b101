"""Commits the faults of a script in a running run, and writes down when it did what to which process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.app.process_identity import identity_of
from runtime.events import StepCommitted
from runtime.ids import Incarnation, Step
from tests.chaos.scene import Scene
from tests.chaos.script import Fault, FaultScript
from tests.support.run_process import RunProcess
from tests.support.waiting import until


@dataclass(frozen=True)
class Injected:
    """A fault that was committed."""

    fault: Fault
    pid: int
    incarnation: Incarnation
    wall_seconds: float
    """Unix time just before the signal was sent."""
    step: Step
    """The last committed step that the journal knew then."""


def middle_of(phase: str, before: StepCommitted) -> float:
    """Seconds from the commit of `before` to the middle of a phase of the next step, if that takes as long.

    What is neither fed, computed nor exchanged is the update that the verdict allows, and the vote: half of it each.
    """
    rest = max(0.0, before.seconds - before.feed_seconds - before.compute_seconds - before.exchange_seconds) / 2
    lengths = {
        "apply": rest,
        "feed": before.feed_seconds,
        "compute": before.compute_seconds,
        "exchange": before.exchange_seconds,
        "vote": rest,
    }
    earlier = list(lengths)[: list(lengths).index(phase)]
    return sum(lengths[name] for name in earlier) + lengths[phase] / 2


class Injector:
    """Follows one run from its beginning. Every wait ends with the run, or after the guard."""

    def __init__(self, run: RunProcess, *, guard_seconds: float = 300.0, spares: int = 0) -> None:
        """A run counts as whole only once that many spares are ready."""
        self.run, self.guard_seconds, self._spares = run, guard_seconds, spares
        self.scene = Scene()
        self.injected: list[Injected] = []
        self._taken = len(run.journal.seen)  # what an earlier root process of the same folder wrote

    def commit(self, script: FaultScript) -> list[Injected]:
        """Commit every fault of `script`, each when the run is whole again; returns what was done.

        Raises AssertionError when the run ends before the last fault, or a guard is exceeded.
        """
        for fault in script.faults:
            self.wait_until_whole(fault.step)
            self._hit(fault)
        return self.injected

    def wait_until_whole(self, step: int = 0) -> None:
        """Return when `step` is committed and everybody takes part: nobody who was hit, but a successor."""
        hit = {(injected.pid, injected.incarnation) for injected in self.injected}
        self.wait_for(
            lambda: self.scene.step >= step and self._is_whole and not hit & set(self.scene.pids.values()),
            f"the run was never whole after step {step}",
        )

    @property
    def _is_whole(self) -> bool:
        return self.scene.whole and len(self.scene.spares) >= self._spares

    def wait_for(self, holds: Callable[[], bool], what: str) -> None:
        """Return when `holds()` of what the journal tells."""

        def look() -> bool:
            ended = identity_of(self.run.pid) is None  # asked before reading: what it wrote last must be seen
            self.follow()
            if holds():
                return True
            assert not ended, f"{what}; the run has ended:\n{self.run.tail()}"
            return False

        until(look, within_seconds=self.guard_seconds, what=lambda: f"{what}:\n{self.run.tail()}")

    def follow(self) -> None:
        """Take in what the journal says by now."""
        self.run.journal.fresh()
        for envelope in self.run.journal.seen[self._taken :]:
            self._taken += 1
            self.scene.take(envelope)

    def _aim(self, phase: str) -> None:
        """Return in about the middle of that phase of a step: the next one whose beginning is seen in time."""
        fresh: list[float] = []

        def in_time() -> bool:
            last = self.scene.last_commit
            if last is None or last.wall_seconds in fresh:
                return False
            fresh[:] = [last.wall_seconds]
            return last.wall_seconds + middle_of(phase, last.event) > time.time()

        self.wait_for(in_time, f"no step whose {phase} could be met")
        last = self.scene.last_commit
        assert last is not None
        moment = last.wall_seconds + middle_of(phase, last.event)
        while time.time() < moment:  # a phase may last for a millisecond: no pause is short enough
            pass

    def _hit(self, fault: Fault) -> None:
        if fault.delay_seconds:
            moment = time.monotonic() + fault.delay_seconds
            until(lambda: time.monotonic() >= moment, within_seconds=self.guard_seconds, what=lambda: "no time")
        if fault.phase:
            self._aim(fault.phase)
        target = self.scene.process_of(fault.rank)
        assert target is not None, f"nobody to hit: {fault}"
        pid, incarnation = target
        self.injected.append(Injected(fault, pid, incarnation, time.time(), self.scene.step))
        os.kill(pid, fault.kind.signal)
