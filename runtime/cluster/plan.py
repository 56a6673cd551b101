"""What the run as a whole has to do: how many steps, when to evaluate, when to save. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.cluster.loss_scale import LossScale
from runtime.ids import Cursor, Step


@dataclass(frozen=True)
class RunPlan:
    """The coordinator's view of the configuration; units are samples, steps and seconds."""

    workers: int
    global_batch_size: int
    logical_shards: int
    steps: int
    """Exactly this many steps; 0: as many as `epochs` needs."""
    epochs: float
    min_workers: int = 1
    wait_seconds: float = 600.0
    gather_seconds: float = 3.0
    """How long a successor waits for missing workers once the first one has come back."""
    checkpoint_every: int = 0
    """Steps; 0: only at the end."""
    checkpoint_every_seconds: float = 0.0
    evaluate: bool = False
    evaluate_every: int = 0
    """Steps; 0: before the first step and after the last one."""
    evaluate_max_batches: int = 0
    answers: int = 0
    """Held-out prompts answered with each evaluation at the beginning and the end."""
    answers_every: int = 0
    stop_on_nonfinite: bool = False
    max_skipped_in_a_row: int = 5
    spike_zscore: float = 0.0
    """> 0: norms and losses are judged by statistics, too."""
    loss_scale: LossScale | None = None
    """Of float16; None: the loss is not scaled."""
    verify_every: int = 0
    """Steps between two comparisons of the replicas; 0: never."""
    slices: int = 0
    """> 0: the optimizer's state is sharded, in so many slices ..."""
    replicas: int = 2
    """... each of which so many workers keep."""
    stages: int = 1
    """> 1: workers form pipelines of so many stages, and none can be done without."""

    @property
    def fewest(self) -> int:
        """With fewer workers nothing goes on."""
        return self.workers if self.stages > 1 else self.min_workers

    @property
    def shards(self) -> int:
        """Logical shards in use: never more than samples in a global batch."""
        return min(self.logical_shards, self.global_batch_size)

    def total_samples(self, samples_in_epoch: int) -> int | None:
        """Samples that the run consumes; None when it is counted in steps."""
        return None if self.steps else math.ceil(self.epochs * samples_in_epoch)

    def last_step(self, samples_in_epoch: int, passed_over: int = 0) -> Step:
        """The step after which the run is done, when `passed_over` samples were consumed without a step."""
        total = self.total_samples(samples_in_epoch)
        return Step(self.steps if total is None else math.ceil((total - passed_over) / self.global_batch_size))

    def batch_at(self, cursor: Cursor, samples_in_epoch: int) -> int:
        """Samples of the global batch that begins at `cursor` (the last one of an epoch-counted run may be smaller)."""
        total = self.total_samples(samples_in_epoch)
        return self.global_batch_size if total is None else min(self.global_batch_size, total - cursor)

    def evaluation_due(self, step: Step, last: Step) -> bool:
        """Whether the state after `step` is evaluated."""
        if not self.evaluate:
            return False
        return step in (0, last) or (self.evaluate_every > 0 and step % self.evaluate_every == 0)

    def answers_due(self, step: Step, last: Step) -> int:
        """How many held-out prompts are answered after `step`."""
        on_cadence = self.answers_every > 0 and step % self.answers_every == 0
        return self.answers if step in (0, last) or on_cadence else 0

    def verify_due(self, step: Step) -> bool:
        """Whether the replicas are compared while they compute `step`."""
        return self.verify_every > 0 and step % self.verify_every == 0

    def checkpoint_due(self, step: Step, seconds_since_last: float) -> bool:
        """Whether the state after `step` is saved (the state after the last step always is, by other means)."""
        if step > 0 and self.checkpoint_every > 0 and step % self.checkpoint_every == 0:
            return True
        return 0 < self.checkpoint_every_seconds <= seconds_since_last
