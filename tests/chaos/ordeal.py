"""Three runs of one command: through a mixture of faults, in peace, and through the same faults with the old answer.

The old answer ("restart everything") ends the whole run at each deadly blow and gives the same command again, which
resumes from its last checkpoint. It is spared the detection: its blow and its restart come in the same moment, also
where a hang would have had to be noticed first. What is not deadly befalls it as it befell the other.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.events import CheckpointWritten, Envelope
from tests.chaos.census import Occupied, census
from tests.chaos.disk import Disk, small_disk_for_checkpoints
from tests.chaos.disturbed import ENDLESS, STOPPED
from tests.chaos.hand import Hand, Struck
from tests.chaos.injector import Injector
from tests.chaos.mixture import Blow
from tests.support.journal import read_journal
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

Tables = Mapping[str, Mapping[str, Any]]
WHOLE_GUARD_SECONDS = 300.0


@dataclass(frozen=True)
class Ordeal:
    """What is left of a run."""

    folder: Path
    journal: list[Envelope]
    dealt: tuple[Struck, ...] = ()
    before: Mapping[str, Occupied] | None = None
    after: Mapping[str, Occupied] | None = None
    first_wall_seconds: float = 0.0
    """Unix time of the first commit, as the hand saw it: the schedule of blows begins there."""
    last_wall_seconds: float = 0.0
    """Unix time at which the last blow's interval was over and the run whole."""
    output: str = ""
    starts: int = 1
    """How often the command was given."""

    @property
    def parameter_hash(self) -> str:
        """Of the last checkpoint; empty without one."""
        written = [envelope.event for envelope in self.journal if isinstance(envelope.event, CheckpointWritten)]
        return written[-1].parameter_hash if written else ""


def endure(
    folder: Path, blows: Sequence[Blow], tables: Tables, *, watch: Callable[[RunProcess], None] = lambda _: None
) -> Ordeal:
    """Run without a last step, deal every blow, wait until the run is whole, stop it in order.

    For a worker that retires (its memory did not suffice for one row) another one is added before the next blow.

    `watch` is called again and again between the blows.
    """
    with ExitStack() as stack:
        run, disk = _prepared(stack, folder, tables)
        stack.enter_context(run)
        injector = Injector(run, guard_seconds=WHOLE_GUARD_SECONDS)
        hand = Hand(injector, disk)
        injector.wait_until_whole(step=1)
        before, first = census(run.alive()), time.time()
        dealt: list[Struck] = []
        for blow in blows:
            _wait_for(injector, blow, dealt[-1].wall_seconds if dealt else first, watch)
            dealt.append(hand.deal(blow))
        _wait_for(injector, blows[-1], dealt[-1].wall_seconds, watch)
        injector.wait_until_whole()
        after, last = census(run.alive()), time.time()
        run.signal_root(signal.SIGINT)
        code = run.finish(within_seconds=WHOLE_GUARD_SECONDS)
        assert code == STOPPED, run.tail()
        journal = read_journal(run.run_folder / "events.jsonl")
        return Ordeal(run.run_folder, journal, tuple(dealt), before, after, first, last, run.tail())


def in_peace(folder: Path, steps: int, tables: Tables) -> Ordeal:
    """The same run with a last step, and nobody disturbs it."""
    with ExitStack() as stack:
        run, _ = _prepared(stack, folder, tables, steps)
        stack.enter_context(run)
        code = run.finish(within_seconds=24 * 3600.0)
        assert code == 0, run.tail()
        return Ordeal(run.run_folder, read_journal(run.run_folder / "events.jsonl"))


def restart_everything(folder: Path, model: Ordeal, tables: Tables) -> Ordeal:
    """The same blows at the same moments, for the same time; at a deadly one everything is started again."""
    with ExitStack() as stack:
        run, disk = _prepared(stack, folder, tables)
        life = _Life(run, disk, guard_seconds=WHOLE_GUARD_SECONDS)
        stack.callback(life.end)
        life.begin()
        life.injector.wait_until_whole(step=1)
        first = time.time()
        for struck in model.dealt:
            _wait_until_wall(first + struck.wall_seconds - model.first_wall_seconds)
            if struck.blow.kind.is_deadly:
                life.end()
                life.begin()
            elif life.has_workers:
                life.hand.deal(struck.blow)
        _wait_until_wall(first + model.last_wall_seconds - model.first_wall_seconds)
        last = time.time()
        life.end()
        journal = read_journal(run.run_folder / "events.jsonl")
        return Ordeal(run.run_folder, journal, first_wall_seconds=first, last_wall_seconds=last, starts=life.starts)


class _Life:
    """A run that is ended by SIGKILL of its root, and begun again by the same command."""

    def __init__(self, run: RunProcess, disk: Disk | None, guard_seconds: float) -> None:
        self._run, self._disk, self._guard_seconds = run, disk, guard_seconds
        self._stack = ExitStack()
        self.starts = 0

    def begin(self) -> None:
        """Give the command."""
        self.starts += 1
        self._run.journal.fresh()
        self._stack.enter_context(self._run)
        self.injector = Injector(self._run, guard_seconds=self._guard_seconds)
        self.hand = Hand(self.injector, self._disk)

    def end(self) -> None:
        """SIGKILL the root, and return when nothing of the run is left."""
        self._stack.close()

    @property
    def has_workers(self) -> bool:
        """Whether there is somebody to hit: not while everything starts."""
        self.injector.follow()
        return self.injector.scene.whole


def _prepared(stack: ExitStack, folder: Path, tables: Tables, steps: int = ENDLESS) -> tuple[RunProcess, Disk | None]:
    config = write_tiny_config(folder, steps=steps, extra=tables)
    disk = stack.enter_context(small_disk_for_checkpoints(folder / "runs" / "mixed"))
    return RunProcess(config, folder, name="mixed"), disk


def _wait_for(injector: Injector, blow: Blow, since: float, watch: Callable[[RunProcess], None]) -> None:
    _wait_until_wall(since + blow.gap_seconds, lambda: watch(injector.run))
    injector.follow()
    for _ in injector.scene.gone:
        injector.run.order("workers", "add")
    if blow.once_whole:
        injector.wait_until_whole()


def _wait_until_wall(moment: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    def has_come() -> bool:
        meanwhile()
        return time.time() >= moment

    wait = moment - time.time()
    if wait > 0:
        until(has_come, within_seconds=wait + 60, what=lambda: "the clock was set back")
