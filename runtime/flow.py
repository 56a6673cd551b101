"""What travels through a step, in order: Batch -> LocalGradients -> GlobalGradients -> CommittedStep -> Snapshot.

Everything is frozen. Shape letters: B rows of a micro-batch, T positions, N elements of the flat gradient.
Arrays are typed `Array`: numpy on the wire and in the feeder, mlx on the device thread; neither is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runtime.ids import Cursor, Generation, Rank, ShardId, Step

Array: TypeAlias = Any
Node: TypeAlias = tuple[int, int]
"""A node of the binary summation tree over logical shards: (first shard, number of leaves, a power of two)."""


@dataclass(frozen=True)
class StepOrder:
    """What the coordinator orders for one step: who does which part of which samples."""

    generation: Generation
    step: Step
    cursor: Cursor
    """Samples consumed before this step: the global batch is a pure function of (seed, cursor, samples)."""
    samples: int
    """Size of this global batch; smaller than train.global_batch_size only for the last one of the run."""
    owners: tuple[Rank, ...]
    """owners[shard] = the rank that computes that logical shard."""
    receivers: tuple[Rank, ...]
    """Every rank that gets the summed gradient: the owners, and newcomers that are catching up."""
    verify: bool = False
    """Each owner votes with the hash of the parameters that it computed from."""
    inspect: bool = False
    """Whether each contributor also measures its own part, because the sum was bad."""

    def shards_of(self, rank: Rank) -> tuple[ShardId, ...]:
        """The logical shards that `rank` computes, ascending."""
        return tuple(ShardId(shard) for shard, owner in enumerate(self.owners) if owner == rank)

    @property
    def contributors(self) -> tuple[Rank, ...]:
        """The ranks that own at least one shard, ascending."""
        return tuple(sorted(set(self.owners)))


@dataclass(frozen=True)
class Packing:
    """Several samples in each row of a micro-batch: which token is whose."""

    segments_BT: Array
    """int32: which sample of its row a token belongs to, from 1; 0 is padding."""
    positions_BT: Array
    """int32: the token's place within its sample."""
    samples: tuple[tuple[tuple[ShardId, int], ...], ...]
    """For each row the samples of its segments 1, 2, ...: (logical shard, number within the shard)."""


@dataclass(frozen=True)
class Micro:
    """Rows that go through the model at once. Targets are the tokens shifted by one; the mask is the target's."""

    shards: tuple[ShardId, ...]
    """The logical shard of each row, length B (padding rows carry the shard that they pad)."""
    tokens_BT: Array
    """int32; position t predicts position t+1."""
    mask_BT: Array
    """float32 0/1: 1 where tokens_BT[b, t] is a *target* that counts (so column 0 is never 1); padding is 0."""
    packing: Packing | None = None
    """None: a row is a sample. Elsewhere `shards` holds the shard of each row's first sample."""

    def cut(self, rows: slice, tokens: slice = slice(None)) -> Micro:
        """Some of its rows, or the beginnings of them."""
        packing = self.packing and Packing(
            self.packing.segments_BT[rows, tokens],
            self.packing.positions_BT[rows, tokens],
            self.packing.samples[rows],
        )
        return Micro(self.shards[rows], self.tokens_BT[rows, tokens], self.mask_BT[rows, tokens], packing)

    @property
    def shards_inside(self) -> tuple[ShardId, ...]:
        """The logical shards that it holds samples of (or padding for), ascending."""
        packed = () if self.packing is None else (shard for row in self.packing.samples for shard, _ in row)
        return tuple(sorted({*self.shards, *packed}))

    def targets(self) -> list[int]:
        """How many positions of each row count."""
        return [int(count) for count in self.mask_BT[:, 1:].sum(axis=-1).tolist()]


@dataclass(frozen=True)
class Batch:
    """This worker's part of one global batch, ready for the device."""

    step: Step
    cursor: Cursor
    shards: tuple[ShardId, ...]
    micros: tuple[Micro, ...]
    sample_ids: Mapping[ShardId, tuple[int, ...]]
    """Which training samples each logical shard holds, for the ledger."""
    useful_tokens: int
    """Tokens that are predicted within their sample, learnt or not: all but its first."""
    computed_positions: int
    """Positions that go through the model; useful_tokens are at most as many."""


@dataclass(frozen=True)
class ShardLoss:
    """One logical shard's share of the loss: sums, never means."""

    loss_sum: float
    tokens: int


@dataclass(frozen=True)
class LocalGradients:
    """Token-summed gradients of this worker's shards: one flat fp32 vector per summation-tree node (or one in all)."""

    step: Step
    parts: Mapping[Node, Array]
    losses: Mapping[ShardId, ShardLoss]


@dataclass(frozen=True)
class GlobalGradients:
    """The same bytes on every receiver: the token-summed gradient of the global batch, not yet divided or clipped."""

    generation: Generation
    step: Step
    flat_N: Array


@dataclass(frozen=True)
class CommittedStep:
    """The coordinator's verdict on one step: the totals that the optimizer divides by, or the order to skip."""

    step: Step
    applied: bool
    """False: a gradient was not finite; the samples are consumed, the parameters stay."""
    tokens: int
    loss_sum: float
    grad_norm: float
    clip_norm: float = 0.0
    """> 0: the update is clipped to this norm, beside whatever train.max_grad_norm says."""


@dataclass(frozen=True)
class Snapshot:
    """The whole state after `step`: immutable arrays, so that holding one costs references and not copies."""

    step: Step
    cursor: Cursor
    parameters: Mapping[str, Array]
    """Every trained and frozen parameter by its global dotted name."""
    optimizer: Mapping[str, Array]
    """Flat: `m.<parameter>`, `v.<parameter>`, `master.<parameter>`, ..."""
    counters: Mapping[str, int | float] = field(default_factory=dict)
    """applied_steps, skipped_steps, tokens and whatever else is needed to resume exactly."""
    pieces: Mapping[str, tuple[str, tuple[int, ...], int]] = field(default_factory=dict)
    """Of what `optimizer` has only flat pieces: (whole array's name, its shape, first element), by the piece's name."""
