"""Useful work over wall time: samples of steps that count in the end, from the first commit on. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.events import Envelope, StepCommitted
from tests.chaos.ledger import history


@dataclass(frozen=True)
class Goodput:
    """What a run achieved."""

    samples: int
    seconds: float
    steps: int
    final_loss: float
    """Of the last step that counts, in nats."""

    @property
    def samples_per_second(self) -> float:
        """0 where no time passed."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


def relative_distance(value: float, reference: float) -> float:
    """How far a loss is from another one, as a share of that; a run that has learnt everything ends at 0."""
    apart = abs(value - reference)
    return apart / reference if reference else apart and math.inf


def goodput(journal: Sequence[Envelope], until_wall_seconds: float | None = None) -> Goodput:
    """Of a whole journal; the clock stops with the last commit, or at the given Unix time.

    The first step does not count: it compiles, and marks where the clock starts. Raises ValueError for a journal
    without a commit.
    """
    walls = [envelope.wall_seconds for envelope in journal if isinstance(envelope.event, StepCommitted)]
    if not walls:
        raise ValueError("nothing was committed")
    steps = history(journal)
    end = walls[-1] if until_wall_seconds is None else until_wall_seconds
    counted = list(steps.values())[1:]
    last = max(steps, default=0)
    loss = steps[last].loss if steps else float("nan")
    return Goodput(sum(step.samples for step in counted), end - walls[0], last, loss)
