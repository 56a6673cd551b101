"""From whatever the workers still hold to one common state. Pure.

The newest committed state wins if any living worker holds it, or prepared its gradient and only missed the verdict.
Otherwise the newest state that anybody holds, if it is newer than what is on disk; otherwise the newest checkpoint,
for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.cluster.membership import Entry
from runtime.cluster.messages import RestorePoint
from runtime.cluster.signals import GENERATION, ROLLED_BACK, Position
from runtime.ids import Step


@dataclass(frozen=True)
class Agreement:
    """The state to go on from, and who has it. `ready` is empty when everybody must load `position` from disk."""

    position: Position
    ready: tuple[Entry, ...]


def agree(
    entries: Sequence[Entry],
    committed: Position,
    on_disk: RestorePoint,
    have_all: Callable[[Sequence[Entry]], bool] = bool,
) -> Agreement:
    """The state that a run goes on from when `entries` are all the workers there are.

    `have_all` says whether some of them, which hold one state, hold the whole of it.
    """
    ready = tuple(entry for entry in entries if entry.reaches(committed))
    if have_all(ready):
        return Agreement(committed, ready)
    floor = committed.counters.get(ROLLED_BACK, 0)
    usable = [entry for entry in entries if entry.holds >= max(on_disk.step, 0) and _committed_in(entry) > floor]
    for newest in sorted(usable, key=lambda entry: (entry.holds, _committed_in(entry)), reverse=True):
        position = Position(Step(newest.holds), newest.join.cursor, dict(newest.join.counters))
        ready = tuple(entry for entry in usable if entry.reaches(position))
        if have_all(ready):
            return Agreement(position, ready)
    return Agreement(Position(on_disk.step, on_disk.cursor, dict(on_disk.counters)), ())


def _committed_in(entry: Entry) -> float:
    return entry.join.counters.get(GENERATION, 0)
