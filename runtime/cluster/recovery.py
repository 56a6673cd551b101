"""From whatever the workers still hold to one common state. Pure.

The newest committed state wins if any living worker holds it, or prepared its gradient and only missed the verdict.
Otherwise the newest state that anybody holds, if it is newer than what is on disk; otherwise the newest checkpoint,
for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.cluster.membership import Entry
from runtime.cluster.messages import RestorePoint
from runtime.cluster.signals import Position
from runtime.ids import Step


@dataclass(frozen=True)
class Agreement:
    """The state to go on from, and who has it. `ready` is empty when everybody must load `position` from disk."""

    position: Position
    ready: tuple[Entry, ...]


def agree(entries: Sequence[Entry], committed: Position, on_disk: RestorePoint) -> Agreement:
    """The state that a run goes on from when `entries` are all the workers there are."""
    ready = tuple(entry for entry in entries if _reaches(entry, committed))
    if ready:
        return Agreement(committed, ready)
    newest = max(entries, key=lambda entry: entry.holds)
    if newest.holds >= 0 and newest.holds >= on_disk.step:
        position = Position(Step(newest.holds), newest.join.cursor, dict(newest.join.counters))
        return Agreement(position, tuple(entry for entry in entries if entry.holds == newest.holds))
    return Agreement(Position(on_disk.step, on_disk.cursor, dict(on_disk.counters)), ())


def _reaches(entry: Entry, committed: Position) -> bool:
    """Whether this worker holds the committed state, or will once it hears the verdict on the step that it prepared."""
    one_behind = entry.holds == committed.step - 1 and entry.join.prepared == committed.step
    return entry.holds >= 0 and (entry.holds == committed.step or (one_behind and committed.verdict is not None))
