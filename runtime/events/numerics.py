"""Facts about numbers and devices that went wrong, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import Incarnation, Rank, ShardId, Step


@dataclass(frozen=True, slots=True)
class MicroBatchHalved:
    """A worker ran out of memory: from now on it puts fewer rows at once through the model, more often.

    Same samples, same global batch. Sums of gradients are rounded in another order from this step on.
    """

    rank: Rank
    step: Step
    rows_before: int
    rows: int
    """1 both times: a single row did not fit and is tried again."""
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaDrifted:
    """A worker's parameters are not the others': nothing that it computed from them counts, and it gets theirs."""

    step: Step
    """The last committed step: the parameters after it were compared."""
    rank: Rank
    incarnation: Incarnation
    parameter_hash: str
    expected_hash: str
    """What the majority has; empty when there was none, and everybody goes back to the last checkpoint."""


@dataclass(frozen=True, slots=True)
class DeviceMeasured:
    """What a worker's process had needed of its device up to some step; the newest one counts."""

    rank: Rank
    incarnation: Incarnation
    step: Step
    peak_bytes: int
    """The most that MLX held at once."""
    planned_bytes: int = 0
    """What the plan had said; 0: there was none."""
    shapes: int = 0
    """Different shapes of micro-batches."""
    compiled: int = 0
    """How often gradients were compiled; 0 where nothing is."""
    settled_step: int = 0
    """The last step that met a new shape or compiled anything: the warm-up ended with it."""


@dataclass(frozen=True, slots=True)
class WorkerRetired:
    """A worker left the run for good, and its supervisor does not start it again; the others go on."""

    rank: Rank
    incarnation: Incarnation
    reason: str


@dataclass(frozen=True, slots=True)
class GradientClipped:
    """The norm of a step's gradient stood out from those before it: its update was clipped on every worker."""

    step: Step
    grad_norm: float
    clipped_to: float
    zscore: float
    """Deviations above the mean that it was."""


@dataclass(frozen=True, slots=True)
class LossScaleChanged:
    """float16's loss is multiplied with another factor from the next step on, on every worker."""

    step: Step
    before: float
    """What the gradient of `step` was computed with."""
    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceSuspected:
    """What a worker computed was bad, and what another one made of the same samples was not."""

    rank: Rank
    step: Step
    shards: tuple[ShardId, ...]
    times: int
    """In this coordinator's life."""
    most: int
    """At this number the worker leaves."""


@dataclass(frozen=True, slots=True)
class DataSuspected:
    """What a worker computed was bad, and so was what another one made of the same samples."""

    step: Step
    rank: Rank
    """Who computed it first."""
    shards: tuple[ShardId, ...]
    reason: str
