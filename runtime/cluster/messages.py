"""What a worker and the coordinator say to each other; `wire` puts it into protobuf.

    worker -> coordinator   Join, Holding, Progress, Vote, ExchangeFailed, Evaluated, ShardWritten, CheckpointDone
    coordinator -> worker   Order, Heal, Restore, Seal, Finish, Refused

One `Order` closes a step and opens the next: it carries the verdict on the step before it and the work that follows,
so a quiet step costs a single round trip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from runtime.cluster.slices import Holders
from runtime.flow import CommittedStep, StepOrder
from runtime.ids import Cursor, Generation, Incarnation, Rank, ShardId, Step


@dataclass(frozen=True)
class Member:
    """A worker that takes part in a generation, and where its data plane listens."""

    rank: Rank
    incarnation: Incarnation
    peer_address: str
    stage_address: str = ""
    """Where the other stages of its pipeline reach it; empty where there is none."""


@dataclass(frozen=True)
class Join:
    """First message of a session: who is there, and what state it holds."""

    run: str
    rank: Rank
    incarnation: Incarnation
    peer_address: str
    holds: int
    """Step whose state it holds, -1 for none."""
    prepared: int
    """Generation in which it took part in summing the gradient of step `holds + 1`, which it has not applied; 0: none.

    Other members may have summed that step anew since: only the generation that committed it has the right sum."""
    cursor: Cursor
    counters: Mapping[str, float]
    samples_in_epoch: int
    data_fingerprint: str
    host: str
    device: str
    pid: int
    parameters: int = 0
    trained_parameters: int = 0
    slices: tuple[int, ...] = ()
    """Slices of the optimizer's state that it holds, as of step `holds`, when that is sharded (see `slices`)."""
    stage_address: str = ""
    is_away: bool = False
    """On another machine than the run's folder: it can neither read nor write checkpoints."""


@dataclass(frozen=True)
class Holding:
    """The worker now holds the state after `step` (restored, healed or caught up)."""

    step: Step
    seconds: float
    size_bytes: int
    sources: tuple[Rank, ...] = ()


@dataclass(frozen=True)
class Progress:
    """A heartbeat that proves progress: where the worker is, and since when."""

    step: int
    phase: str
    seconds_in_phase: float


@dataclass(frozen=True)
class ShardTally:
    """One logical shard's share of the step: sums, and which samples it was."""

    shard: ShardId
    loss_sum: float
    tokens: int
    sample_ids: tuple[int, ...]


@dataclass(frozen=True)
class Vote:
    """The worker holds the whole summed gradient of the step and can apply it."""

    generation: Generation
    step: Step
    tallies: tuple[ShardTally, ...]
    finite: bool
    grad_square_sum: float
    """Sum of squares of the summed (not yet divided) gradient; the same bits on every worker, unless it is a part."""
    compute_seconds: float
    exchange_seconds: float
    feed_seconds: float
    useful_tokens: int
    computed_positions: int
    parameter_hash: str = ""
    """Hash of the parameters before this step, when a drift check is due."""
    own_square_sum: float = -1.0
    """Sum of squares of this worker's own part of the gradient; -1 where it was not measured."""
    apply_seconds: float = 0.0
    """How long the update of the step before took to dispatch; it happened within this step's time."""
    is_part: bool = False
    """The sum of squares is of a part of the gradient, the voter's own to tell of; all votes' parts are the whole."""


@dataclass(frozen=True)
class ExchangeFailed:
    """The summed gradient could not be had; `peer` is the rank that could not be reached, -1 if unknown."""

    generation: Generation
    step: Step
    peer: int
    reason: str


@dataclass(frozen=True)
class Answer:
    """A held-out prompt and what the model made of it."""

    index: int
    prompt: str
    expected: str
    answer: str


@dataclass(frozen=True)
class Evaluated:
    """This worker's share of an evaluation: sums, never means."""

    generation: Generation
    step: Step
    loss_sum: float
    tokens: int
    correct: int
    answers: tuple[Answer, ...]
    sums: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What the metrics counted in `answers`, by metric; see runtime.metrics."""


@dataclass(frozen=True)
class CheckpointDone:
    """The checkpoint writer finished, well or not (`error` is then one sentence)."""

    step: Step
    path: str
    size_bytes: int
    seconds: float
    parameter_hash: str
    error: str = ""
    attempt: str = ""
    """Of the `Save` that it answers."""


@dataclass(frozen=True)
class ShardWritten:
    """This worker's share of a checkpoint is on disk, for good. One that has the only share says CheckpointDone."""

    step: Step
    attempt: str
    shards: int
    """How many of the `Save`'s writers have a share: the first so many. All of them arrive at the same number."""
    files: str
    """What the manifest will say of its files, digests and all; only writers read it."""


FromWorker: TypeAlias = Join | Holding | Progress | Vote | ExchangeFailed | Evaluated | ShardWritten | CheckpointDone


@dataclass(frozen=True)
class StepWork:
    """Compute, exchange and vote on one step."""

    order: StepOrder
    learning_rate: float = 0.0
    """What its verdict will say if nothing is out of the ordinary, so that an update may be begun before it comes."""
    update: int = 0
    """The same of its number; 0: not known."""


@dataclass(frozen=True)
class EvaluateWork:
    """Evaluate the held-out data: worker k of n takes every n-th sample from k."""

    workers: tuple[Rank, ...]
    answers: int
    """How many held-out prompts to answer, over all workers."""
    max_batches: int


@dataclass(frozen=True)
class Rest:
    """Drop what is under way and wait; the state stays."""

    reason: str


Work: TypeAlias = StepWork | EvaluateWork | Rest


@dataclass(frozen=True)
class Verdict:
    """What became of a step, and the learning rate that it is applied with."""

    committed: CommittedStep
    learning_rate: float
    update: int
    """Number of applied updates up to and including this one: the optimizer's own step count."""


@dataclass(frozen=True)
class Save:
    """Write the order's `state` to disk while the run goes on: each of `writers` the share that it owns."""

    attempt: str
    """`<generation>-<number>`: which of them all this is; no two of a run are called the same."""
    writers: tuple[Rank, ...]
    """The first of them seals it."""


@dataclass(frozen=True)
class Order:
    """Close the step before (`verdict`), then do `work` as `members` of `generation`."""

    generation: Generation
    members: tuple[Member, ...]
    state: Step
    """The committed step: whoever applied `verdict` now holds the state after it."""
    cursor: Cursor
    counters: Mapping[str, float]
    verdict: Verdict | None
    work: Work
    save: Save | None = None
    """Who writes the state after `state` to disk, if anybody does."""
    hold: tuple[Step, ...] = ()
    """States to keep for newcomers that are fetching them; whatever is not listed may be forgotten."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What was found when the state after `state` was evaluated; goes into its checkpoint."""
    holders: Holders = ()
    """Who holds which slice of the optimizer's state after `state`; empty when it is not sharded."""
    keepers: Holders = ()
    """Who shall hold them from now on. Equal in all orders of one generation and state."""


@dataclass(frozen=True)
class Heal:
    """Fetch the state after `step` from these members, then catch up with the orders that arrive meanwhile."""

    step: Step
    cursor: Cursor
    counters: Mapping[str, float]
    sources: tuple[Member, ...]


@dataclass(frozen=True)
class Restore:
    """Go (back) to this saved state; an empty path is the initial model."""

    step: Step
    cursor: Cursor
    counters: Mapping[str, float]
    path: str
    slices: tuple[int, ...] = ()
    """Of the optimizer's state, if that is sharded, this worker needs these alone."""


@dataclass(frozen=True)
class Seal:
    """Every share of a checkpoint is on disk: write its manifest, and make it count."""

    step: Step
    attempt: str
    files: tuple[str, ...]
    """What its writers said of their files, in the order of the `Save`."""


@dataclass(frozen=True)
class Finish:
    """The run is over: let the writer drain and leave."""

    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class Refused:
    """This session has no place in the run (a stale incarnation, another run, other data): leave."""

    reason: str


ToWorker: TypeAlias = Order | Heal | Restore | Seal | Finish | Refused


@dataclass(frozen=True)
class RestorePoint:
    """A state that can be loaded from disk (or built from the seed, when `path` is empty)."""

    step: Step
    cursor: Cursor
    path: str
    counters: Mapping[str, float] = field(default_factory=dict)
