"""What an audit says of a run, and the lines that it is made from. The walk and the checks are in `ledger`."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

from runtime.ids import Rank

FAULTS = (
    "workers lost",
    "workers hung",
    "workers healed",
    "coordinator restarts",
    "resumptions",
    "steps lost in resumptions",
    "steps repeated",
    "rollbacks",
    "steps lost in rollbacks",
    "samples passed over",
    "steps skipped",
    "checkpoints failed",
    "checkpoints rejected",
)
"""The kinds of fault, in the order in which they are told. `steps repeated` were cancelled before their commit."""


class Line(NamedTuple):
    """One commit, as small as a hundred thousand of them must be."""

    step: int
    session: int
    generation: int
    cursor: int
    samples: int
    ids: array[int]
    """Sample ids, shard after shard."""
    shards: int
    """Logical shards that said which samples they had."""
    owners: tuple[Rank, ...]
    sound: bool
    """The loss is a number, or the step was skipped."""
    applied: bool
    passed_over: bool = False
    """Consumed, and by a rollback that said so made no part of the training: its samples are not trained on again."""


@dataclass(frozen=True)
class Audit:
    """What the journal proves, and what the run lived through."""

    steps: int
    """Of the final history."""
    first_step: int
    last_step: int
    samples: int
    samples_in_epoch: int
    generations: int
    sessions: int
    committed: int
    """Commits in the journal."""
    repeated: int
    """Of these, the void ones: their steps were done again, or given up."""
    faults: dict[str, int]
    """How often each kind of fault was survived; kinds that did not occur are there with 0."""
    violations: tuple[str, ...]
    """One sentence each."""
    notes: tuple[str, ...] = ()
    """What a reader should know and what does not decide."""

    @property
    def epochs(self) -> float:
        """Passes over the training samples, by count."""
        return self.samples / self.samples_in_epoch if self.samples_in_epoch else 0.0

    @property
    def proven(self) -> bool:
        """Whether each sample was trained on exactly once in its epoch, so far as this journal goes."""
        return bool(self.steps) and not self.violations
