"""A tiny llama, ragged masked samples, and one step of several replicas in one process, without any network."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np

from runtime.checkpoint.arrays import raw_bytes
from runtime.cluster.ballot import Ballot
from runtime.cluster.loss_scale import LossScale
from runtime.cluster.messages import Verdict, Vote
from runtime.collectives.tree import combine
from runtime.config.model import ScratchSettings
from runtime.config.train import OptimSettings
from runtime.data.batches import Shaping
from runtime.data.chat import Encoded
from runtime.data.feeder import make_batch
from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.data.tokens import TokenDataset
from runtime.flow import Array, Batch, CommittedStep, Node, StepOrder
from runtime.ids import Cursor, Generation, Rank, ShardId, Step
from runtime.models.scratch import build_model, scratch_config
from runtime.trainer.engine import Local, Measured
from runtime.trainer.gradients import trainable
from runtime.trainer.replica import Replica
from runtime.trainer.update import Update

VOCABULARY = 24
K = TypeVar("K")

LEARNING_RATE = 0.02
OPTIM = OptimSettings(lr=LEARNING_RATE, weight_decay=0.1)


def build(seed: int = 3, dtype: mx.Dtype = mx.float32) -> Any:
    """A one-layer llama of 16 channels; the same bits for the same seed."""
    scratch = ScratchSettings(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    config = scratch_config(scratch, vocab_size=VOCABULARY, eos_token_ids=[1], pad_token_id=0)
    model = build_model(config, seed=seed)
    model.set_dtype(dtype)
    return model


def samples(count: int, longest: int = 20) -> TokenDataset:
    """Samples of 2 to `longest` tokens; a random part of each is learnt, holes included."""
    rng = np.random.default_rng(5)
    made = []
    for length in rng.integers(2, longest + 1, count):
        ids, mask = rng.integers(2, VOCABULARY, length), rng.integers(0, 2, length)
        mask[0], mask[-1] = 0, 1
        made.append(Encoded(tuple(int(each) for each in ids), tuple(int(each) for each in mask)))
    return TokenDataset.of(made)


def replica_of(
    model: Any, *, shards: int, deterministic: bool = False, compiled: bool = False, max_grad_norm: float = 0.5
) -> Replica:
    """A replica with the tests' optimizer that holds no state yet."""
    update = Update(trainable(model), OPTIM, max_grad_norm, compiled=compiled)
    return Replica(model, lambda: trainable(build()), update, shards, deterministic, compiled)


@dataclass
class World:
    """One run: its data, its plan, and as many replicas as it has ranks, all in this thread."""

    ranks: int = 1
    shards: int = 8
    global_batch: int = 16
    micro: int = 4
    deterministic: bool = False
    compiled: bool = False
    max_grad_norm: float = 0.5
    dataset: TokenDataset = field(default_factory=lambda: samples(40))
    optim: OptimSettings = OPTIM
    dtype: mx.Dtype = mx.float32
    """Of the parameters; both passes are fp32 unless `compute` says otherwise, as on a CPU."""
    compute: mx.Dtype | None = mx.float32
    loss_scale: LossScale | None = None
    steps_per_run: int | None = None
    cursor: Cursor = field(default_factory=lambda: Cursor(0))
    counters: Mapping[str, float] = field(default_factory=dict)
    build: Callable[[], Any] | None = None
    """Of another model than the usual one."""
    base_hash: str = ""
    """Of that model's frozen base."""
    row_tokens: int = 0
    """> 0: rows of up to this many tokens hold several samples."""
    recompute: str = "none"
    memory_bytes: int = 0
    """Of each device; enough of it, and a replica that is alone begins its updates before their verdicts."""

    in_parts = False
    """Whether every rank measures a part of the gradient."""

    def __post_init__(self) -> None:
        total = None if self.steps_per_run is None else self.steps_per_run * self.global_batch
        self.plan = BatchPlan(SampleOrder(1, len(self.dataset)), self.dataset.lengths, self.global_batch, 2, total)
        self.shaping = Shaping(self.micro, 4, self.deterministic, row_tokens=self.row_tokens)
        self.replicas = [self.new_replica() for _ in range(self.ranks)]
        for replica in self.replicas:
            replica.begin()

    def new_replica(self) -> Replica:
        """One more replica of the same model, without a state."""
        make = self.build or partial(build, dtype=self.dtype)
        model = make()
        update = Update(trainable(model), self.optim, self.max_grad_norm, compiled=self.compiled)
        flags = self.deterministic, self.compiled, self.compute, self.loss_scale, 11, self.base_hash
        more: dict[str, Any] = {"recompute": self.recompute, "memory_bytes": self.memory_bytes}
        return Replica(model, lambda: trainable(make()), update, self.shards, *flags, **more)

    def owners(self) -> tuple[Rank, ...]:
        """Shards dealt to the ranks in turn blocks."""
        return tuple(Rank(shard * self.ranks // self.shards) for shard in range(self.shards))

    def order(self, step: int, owners: Sequence[int] | None = None) -> StepOrder:
        """The coordinator's order of `step` at the present cursor."""
        chosen = self.owners() if owners is None else tuple(Rank(owner) for owner in owners)
        head = Generation(1), Step(step), self.cursor, self.global_batch
        return StepOrder(*head, chosen, tuple(Rank(rank) for rank in range(self.ranks)))

    def batch(self, order: StepOrder, rank: int) -> Batch:
        """What the feeder gives to `rank`."""
        return make_batch(self.dataset, self.plan, self.shaping, order, Rank(rank))

    def locals(self, order: StepOrder) -> dict[int, Local]:
        """Every rank's own part of the step, computed."""
        found = {}
        for rank, replica in enumerate(self.replicas):
            update = int(self.counters.get("applied", 0)) + 1
            found[rank] = Local(order.step, alone=self.ranks == 1, learning_rate=LEARNING_RATE, update=update)
            if order.shards_of(Rank(rank)):
                replica.add_gradients(found[rank], self.batch(order, rank))
        return found

    def sum(self, locals_: Mapping[int, Local]) -> Array:
        """What the exchange would give to everybody: the parts of all ranks, added by the tree."""
        parts: dict[Node, Array] = {}
        for rank, replica in enumerate(self.replicas):
            parts |= replica.parts(locals_[rank], (rank, 1))
        total = self.shards if self.deterministic else self.ranks
        with np.errstate(invalid="ignore"):  # what overflowed may be infinite with both signs
            return combine(parts, total, operator.add)

    def step(self, step: int, owners: Sequence[int] | None = None, rate: float = LEARNING_RATE) -> Verdict:
        """One whole step of all replicas: compute, sum, measure, count, apply."""
        order = self.order(step, owners)
        locals_ = self.locals(order)
        summed = None if self.ranks == 1 else self.sum(locals_)
        measured = self.measured(locals_, summed)
        verdict, self.counters = self.verdict(order, locals_, measured, rate)
        self.cursor = Cursor(self.cursor + self.global_batch)
        for replica in self.replicas:
            replica.apply(verdict, self.cursor, self.counters)
        return verdict

    def measured(self, locals_: Mapping[int, Local], summed: Array | None) -> list[Measured]:
        """What every rank sees of the sum."""
        return [replica.measure(local, summed) for replica, local in zip(self.replicas, locals_.values(), strict=True)]

    def verdict(
        self, order: StepOrder, locals_: Mapping[int, Local], measured: Sequence[Measured], rate: float = LEARNING_RATE
    ) -> tuple[Verdict, dict[str, float]]:
        """The coordinator's own count of the votes, and the counters after it."""
        ballot = Ballot(order)
        for rank in order.contributors:
            tallies = tuple(locals_[rank].tallies[shard] for shard in sorted(locals_[rank].tallies))
            own = measured[rank]
            vote = Vote(order.generation, order.step, tallies, own.finite, own.square_sum, 0.0, 0.0, 0.0, 0, 0)
            vote = replace(vote, is_part=self.in_parts)
            assert ballot.cast(rank, vote)
        count = ballot.count()
        applied = count.finite and count.tokens > 0
        updates = int(self.counters.get("applied", 0)) + applied
        committed = CommittedStep(order.step, applied, count.tokens, count.loss_sum, count.grad_norm)
        counters: dict[str, float] = {"applied": updates}
        if self.loss_scale is not None:
            counters = self.loss_scale.follow(
                {**self.counters, **counters}, finite=count.finite, applied=committed.applied
            )
        return Verdict(committed, rate, updates), counters

    def parameters(self, rank: int = 0) -> dict[str, np.ndarray[Any, Any]]:
        """One rank's present parameters as numpy copies."""
        return as_numpy(self.replicas[rank].snapshot().parameters)


def as_numpy(arrays: Mapping[str, Array]) -> dict[str, np.ndarray[Any, Any]]:
    """Copies that nothing can change any more."""
    return {name: np.array(value) for name, value in arrays.items()}


def bits(arrays: Mapping[K, Array]) -> dict[K, bytes]:
    """Every array's bytes: equal if and only if the arrays are, to the bit."""
    return {name: bytes(raw_bytes(value)) for name, value in arrays.items()}


def shard_ids(numbers: Sequence[int]) -> tuple[ShardId, ...]:
    return tuple(ShardId(number) for number in numbers)


@cache
def dataset_of_thirteen() -> TokenDataset:
    """Fewer samples than some global batches have shards."""
    return samples(13)
