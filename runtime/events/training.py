"""Facts about steps and about how good the model is."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import Cursor, Generation, Rank, Step


@dataclass(frozen=True, slots=True)
class StepCommitted:
    """Every member voted and the step counts: its samples are consumed, once and for all. One line of the ledger."""

    step: Step
    generation: Generation
    cursor: Cursor
    """Samples consumed *before* this step; it consumed `cursor .. cursor + samples - 1`."""
    samples: int
    applied: bool
    """False: a gradient was not finite; the samples are consumed, the parameters stay."""
    loss: float
    """Sum of token losses over sum of trained tokens, in nats, over the whole global batch."""
    tokens: int
    """Trained tokens of the global batch."""
    grad_norm: float
    """L2 norm of the mean gradient before clipping."""
    learning_rate: float
    seconds: float
    """From the previous commit (or from the generation's start) to this one."""
    compute_seconds: float = 0.0
    exchange_seconds: float = 0.0
    feed_seconds: float = 0.0
    """The slowest member's share of each phase."""
    useful_tokens: int = 0
    """Tokens of the global batch that were predicted within their sample, learnt or not; padding is none."""
    computed_positions: int = 0
    """Positions that went through the model, padding included."""
    owners: tuple[Rank, ...] = ()
    """owners[shard] = the rank whose gradient of that logical shard was summed."""
    sample_ids: tuple[tuple[int, ...], ...] = ()
    """sample_ids[shard] = the training samples of that shard; empty where the ledger does not carry them."""
    apply_seconds: float = 0.0
    """The slowest member's dispatch of the update that the step before had led to; it lies within `seconds`."""
    parameter_hash: str = ""
    """Of the parameters *before* this step's update; empty where it was not computed."""


@dataclass(frozen=True, slots=True)
class StepAborted:
    """A step was cancelled before its commit and will be done again; nothing of it counts."""

    step: Step
    generation: Generation
    reason: str


@dataclass(frozen=True, slots=True)
class ShardsMoved:
    """The logical shards are divided anew among the workers, because they are not equally fast."""

    step: Step
    """The first step that is computed so."""
    before: tuple[tuple[Rank, int], ...]
    """(rank, how many shards it had)."""
    after: tuple[tuple[Rank, int], ...]
    speeds: tuple[tuple[Rank, float], ...]
    """(rank, positions per second of its own computing), as measured."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The parameters went back to an earlier step's."""

    from_step: Step
    to_step: Step
    reason: str
    cursor: int = -1
    """Samples consumed when the run goes on; -1: those of `to_step` (as all versions before this field meant)."""
    state_cursor: int = -1
    """Samples that the parameters of `to_step` were trained on or that were passed over before."""
    passed_over: int = 0
    """Samples `state_cursor .. cursor - 1` were trained on by nothing that counts now, and will not be again."""
    rate_factor: float = 1.0
    """What the scheduled learning rate is multiplied with from now on, ..."""
    rate_updates: int = 0
    """... for so many updates."""


@dataclass(frozen=True, slots=True)
class EvaluationFinished:
    """A whole split went through the model without training on it."""

    step: Step
    """The parameters after this step were used; 0 is the initial model."""
    split: str
    loss: float
    tokens: int
    token_accuracy: float = 0.0
    """Share of trained tokens whose most likely prediction is right."""
    seconds: float = 0.0
    metrics: tuple[tuple[str, float], ...] = ()
    """(name, value) of what else was measured: perplexity, and the scores of `eval.generate.metrics`."""


@dataclass(frozen=True, slots=True)
class SampleGenerated:
    """The model answered a held-out prompt at temperature 0."""

    step: Step
    prompt: str
    expected: str
    answer: str
