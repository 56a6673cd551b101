"""Faults as data: what happens to whom, once which step is committed. A random script is its seed and nothing else."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from runtime.ids import Rank, Step


class Kind(Enum):
    """What is done to a process."""

    KILL = "kill"
    """SIGKILL: gone without a word, as after a power cut."""
    SEGFAULT = "segfault"
    """SIGSEGV: a crash in native code."""
    STOP = "stop"
    """SIGSTOP: alive, connected, and silent."""
    COORDINATOR = "coordinator"
    """SIGKILL of the coordinator's process."""

    @property
    def signal(self) -> signal.Signals:
        """What is sent."""
        return {Kind.SEGFAULT: signal.SIGSEGV, Kind.STOP: signal.SIGSTOP}.get(self, signal.SIGKILL)


@dataclass(frozen=True)
class Fault:
    """One fault and its moment: `delay_seconds` after `step` is committed and whoever is meant takes part."""

    kind: Kind
    step: Step
    rank: Rank | None = None
    """None: the coordinator."""
    delay_seconds: float = 0.0
    phase: str = ""
    """Aimed at the middle of this phase of the first step that begins then, as far as the step before tells."""

    def __str__(self) -> str:
        whom = "" if self.rank is None else f" worker {self.rank}"
        return f"{self.kind.value}{whom} after step {self.step}"


@dataclass(frozen=True)
class FaultScript:
    """Faults in the order in which they are committed; each method returns a longer script."""

    faults: tuple[Fault, ...] = ()

    def kill(self, *, rank: int, step: int, delay_seconds: float = 0.0) -> FaultScript:
        """SIGKILL a worker."""
        return self._then(Fault(Kind.KILL, Step(step), Rank(rank), delay_seconds))

    def segfault(self, *, rank: int, step: int) -> FaultScript:
        """Crash a worker in native code."""
        return self._then(Fault(Kind.SEGFAULT, Step(step), Rank(rank)))

    def stop(self, *, rank: int, step: int) -> FaultScript:
        """Freeze a worker."""
        return self._then(Fault(Kind.STOP, Step(step), Rank(rank)))

    def kill_coordinator(self, *, step: int) -> FaultScript:
        """SIGKILL the coordinator."""
        return self._then(Fault(Kind.COORDINATOR, Step(step)))

    def _then(self, fault: Fault) -> FaultScript:
        if self.faults and fault.step < self.faults[-1].step:
            raise ValueError(f"{fault} is written behind {self.faults[-1]}, but comes before it")
        return replace(self, faults=(*self.faults, fault))


def random_script(
    seed: int,
    *,
    count: int,
    workers: int,
    kinds: Sequence[Kind] = (Kind.KILL,),
    first_step: int = 3,
    most_steps_between: int = 10,
    least_delay_seconds: float = 0.0,
    most_delay_seconds: float = 0.25,
    phases: Sequence[str] = (),
) -> FaultScript:
    """`count` faults at random moments within steps: the same for the same arguments, on every machine.

    With `phases`, each fault is aimed at one of them, in turns: the short ones would hardly ever be met by chance.
    """
    draw = random.Random(seed)
    script, step = FaultScript(), first_step
    most = max(least_delay_seconds, most_delay_seconds)
    for number in range(count):
        kind = draw.choice(list(kinds))
        rank = None if kind is Kind.COORDINATOR else Rank(draw.randrange(workers))
        phase = phases[number % len(phases)] if phases and rank is not None else ""
        script = script._then(Fault(kind, Step(step), rank, draw.uniform(least_delay_seconds, most), phase))
        step += draw.randint(1, most_steps_between)
    return script
