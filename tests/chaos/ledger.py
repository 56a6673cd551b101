"""Which samples a run has really trained on, against those that its data order names: none lost, none seen twice.

The journal of a run that was interrupted or rolled back holds some steps more than once; what counts is the history
that led to the final parameters: a later session, and a rollback, cut off what they do again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.app.equipment import prepare
from runtime.config.load import load_config
from runtime.events import Envelope, RolledBack, RunStarted, StepCommitted
from runtime.ids import Cursor, Rank, Step

Batch = Callable[[Cursor, int], Iterable[int]]
"""(cursor, number of samples) -> the samples of the global batch that begins there."""


@dataclass(frozen=True)
class Audit:
    """What is wrong with a history; nothing, if every figure is 0."""

    steps: int
    """Steps in the history."""
    samples: int
    missing_steps: int
    lost: int
    """Samples that a step should have trained on and did not; those of missing steps come on top."""
    doubled: int
    """Samples that a step trained on though they are not its own, or more than once."""
    misplaced: int
    """Steps whose cursor is not where the step before them ended."""

    @property
    def exactly_once(self) -> bool:
        """Whether every sample was trained on once, in its place."""
        return not (self.missing_steps or self.lost or self.doubled or self.misplaced)

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, {self.samples} samples: {self.lost} lost, {self.doubled} doubled, "
            f"{self.missing_steps} steps missing, {self.misplaced} out of place"
        )


def history(journal: Iterable[Envelope]) -> dict[Step, StepCommitted]:
    """The steps that led to the final parameters, ascending."""
    steps: dict[Step, StepCommitted] = {}
    for envelope in journal:
        match envelope.event:
            case StepCommitted() as committed:
                steps[committed.step] = committed
            case RunStarted(first_step=first):
                steps = {step: kept for step, kept in steps.items() if step < first}
            case RolledBack(to_step=to):
                steps = {step: kept for step, kept in steps.items() if step <= to}
            case _:
                pass
    return dict(sorted(steps.items()))


def audit(steps: Mapping[Step, StepCommitted], batch: Batch) -> Audit:
    """Compare a history with the data order."""
    lost = doubled = misplaced = samples = 0
    cursor = 0
    for committed in steps.values():
        misplaced += committed.cursor != cursor
        cursor = committed.cursor + committed.samples
        samples += committed.samples
        expected = Counter(int(sample) for sample in batch(committed.cursor, committed.samples))
        found = Counter(sample for shard in committed.sample_ids for sample in shard)
        lost += (expected - found).total()
        doubled += (found - expected).total()
    last = max(steps, default=0)
    return Audit(len(steps), samples, last - len(steps), lost, doubled, misplaced)


def order_of(run_folder: Path) -> Batch:
    """The data order of a run, from its resolved configuration and its data. Imports mlx."""
    plan = prepare(load_config(run_folder / "config.toml"), run_folder, Rank(1)).feeder()._plan
    return lambda cursor, count: plan.samples(cursor, count).tolist()
