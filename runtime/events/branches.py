"""Which steps of a journal lie on a branch that a rollback cut off.

A checkpoint of such a step may still be on disk: its last share was written by a worker that had lost its connection,
and so did not hear of the rollback. It is whole, and it is no part of the run.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from runtime.events.journal import decode_line
from runtime.events.saving import CheckpointWritten
from runtime.events.training import RolledBack
from runtime.ids import Step

_TELLING = (b"RolledBack", b"CheckpointWritten")


@dataclass(frozen=True)
class Branch:
    """The branch that counts."""

    floor: Step | None = None
    """The step of the last rollback's state; None: nothing was ever rolled back."""
    written: Container[Step] = frozenset()
    """Steps whose checkpoints were told complete and were not cut off since."""

    def is_abandoned(self, step: Step) -> bool:
        """Whether a checkpoint of this step, found on disk, cannot be believed to be of this branch."""
        return self.floor is not None and step > self.floor and step not in self.written


def branch_of(journal: Path) -> Branch:
    """Read it from a journal in one pass; torn lines are passed over, and no journal means no rollback.

    Raises OSError where the file cannot be read.
    """
    floor: Step | None = None
    written: set[Step] = set()
    try:
        with journal.open("rb") as file:
            for line in file:
                if not any(word in line for word in _TELLING):
                    continue  # decoding a million commits would take a minute
                try:
                    event = decode_line(line).event
                except ValueError:
                    continue
                if isinstance(event, CheckpointWritten):
                    written.add(event.step)
                elif isinstance(event, RolledBack):
                    floor = event.to_step
                    written = {step for step in written if step <= floor}
    except FileNotFoundError:
        pass
    return Branch(floor, frozenset(written))
