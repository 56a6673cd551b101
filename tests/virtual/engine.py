"""A device whose parameters are a hash: every gradient depends on the parameters and samples that it was taken from.

A sum that lacks a shard, has one twice, or was taken from older parameters leads to another hash than the ledger's.
Unless the run is deterministic the sum also depends on who computed what, as floating point does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import trio

from runtime.checkpoint.shares import Share, StateSizes
from runtime.cluster.messages import Evaluated, EvaluateWork, Order, Restore, ShardTally, Verdict
from runtime.cluster.slices import held_by
from runtime.errors import CheckpointError
from runtime.flow import Batch, Node, Snapshot, StepOrder
from runtime.ids import Cursor, Generation, Rank, ShardId, Step
from runtime.trainer.engine import Local, Measured
from runtime.trainer.slices import parcels_of
from tests.virtual.history import History

SHARD_SECONDS = 0.02
FEED_SECONDS = 0.01
APPLY_SECONDS = 0.01
RESTORE_SECONDS = 0.3
EVALUATE_SECONDS = 0.15


DRIFTED = "~"
"""First letter of the digest of parameters that are nobody else's."""


def digest_of(*words: object) -> str:
    """A short hash of anything that prints itself."""
    return hashlib.blake2b(repr(words).encode(), digest_size=8).hexdigest()


def tokens_of(sample: int) -> int:
    """Trained tokens of a sample."""
    return 5 + sample % 7


def shard_samples(cursor: int, samples: int, shard: int, shards: int) -> tuple[int, ...]:
    """The samples of one logical shard of the global batch that begins at `cursor`."""
    return tuple(range(cursor + samples * shard // shards, cursor + samples * (shard + 1) // shards))


@dataclass(frozen=True)
class Part:
    """One worker's share of a gradient: a hash for each shard, and whether it is finite."""

    shards: tuple[tuple[int, str], ...]
    finite: bool


def gradient_of(parts: Iterable[Part], *, deterministic: bool) -> str:
    """The sum of all parts."""
    ordered = sorted(part.shards for part in parts if part.shards)
    every = sorted(shard for part in ordered for shard in part)
    return digest_of(every) if deterministic else digest_of(every, [[shard for shard, _ in part] for part in ordered])


def updated(digest: str, gradient: str, tokens: int, learning_rate: float, update: int) -> str:
    """The parameters after an applied step. What has drifted stays so."""
    mark = DRIFTED if digest.startswith(DRIFTED) else ""
    return mark + digest_of(digest, gradient, tokens, learning_rate, update)


@dataclass(frozen=True)
class State:
    """The parameters, and how far they have come."""

    step: Step
    cursor: Cursor
    counters: Mapping[str, float]
    digest: str


INITIAL = digest_of("initial parameters")


class Host(Protocol):
    """What a device needs of the machine that it is in."""

    @property
    def rank(self) -> Rank: ...

    async def busy(self, seconds: float) -> None:
        """Let the device work: only the death of the process interrupts it."""

    def observe(self, state: State, how: str) -> None:
        """Tell the referee which state this device now holds."""

    def load(self, path: str) -> State | None:
        """A checkpoint."""


@dataclass
class VirtualEngine:
    """Implements `engine.Engine`."""

    host: Host
    history: History
    state: State | None = None
    prepared: dict[Step, str] = field(default_factory=dict)
    held: tuple[int, ...] = ()
    """Slices of a sharded optimizer's state."""
    is_whole: bool = True
    """Whether it has all parameters; a sharded device has only its own right after an update."""

    @property
    def holds(self) -> int:
        return -1 if self.state is None else self.state.step

    @property
    def cursor(self) -> Cursor:
        return Cursor(0) if self.state is None else self.state.cursor

    @property
    def counters(self) -> Mapping[str, float]:
        return {} if self.state is None else self.state.counters

    @property
    def slices(self) -> tuple[int, ...]:
        return () if self.state is None else self.held

    def has_prepared(self, step: Step) -> bool:
        return step in self.prepared

    def discard(self, step: Step) -> None:
        self.prepared.pop(step, None)

    def forget(self) -> None:
        self.state, self.held, self.is_whole = None, (), True
        self.prepared.clear()

    def drift(self) -> None:
        """A bit of the parameters flips."""
        if self.state is not None:
            self.state = replace(self.state, digest=DRIFTED + self.state.digest)

    async def restore(self, order: Restore) -> int:
        await self.host.busy(RESTORE_SECONDS)
        found = self.host.load(order.path) if order.path else State(Step(0), Cursor(0), {}, INITIAL)
        if found is None:
            raise CheckpointError(f"{order.path}: no such checkpoint")
        self.held, self.is_whole = order.slices, True
        self._now_holds(replace(found, cursor=order.cursor, counters=order.counters), "restored")
        return 1

    def assume(self, order: Order) -> None:
        self.forget()
        self.state, self.is_whole = State(order.state, order.cursor, dict(order.counters), ""), False

    async def lend(self, order: Order) -> dict[int, str]:
        await self.host.busy(0.001)
        assert self.state is not None
        digest = self.state.digest
        return {parcel.slice: digest for parcel in parcels_of(order) if parcel.sender == self.host.rank}

    async def complete(self, order: Order, vector: Any) -> int:
        await self.host.busy(0.001)
        assert self.state is not None
        rank, mine = self.host.rank, held_by(self.host.rank, order.holders)
        assert set(mine) <= set(self.held), "it is said to hold what it does not"
        found = dict.fromkeys(mine, self.state.digest)
        came = [parcel for parcel in parcels_of(order) if rank in parcel.parameters_to]
        found |= {parcel.slice: vector[parcel.slice] for parcel in came}
        assert len(found) == len(order.holders), "parameters are missing"
        digests = set(found.values())
        digest = digests.pop() if len(digests) == 1 else digest_of(sorted(found.items()))
        self.held = tuple(sorted({*mine, *(parcel.slice for parcel in came if rank in parcel.state_to)}))
        self.is_whole = True
        self._now_holds(replace(self.state, digest=digest), "completed")
        return len(came)

    async def adopt(self, snapshot: Snapshot) -> None:
        await self.host.busy(APPLY_SECONDS)
        digest = str(snapshot.parameters["digest"])
        self._now_holds(State(snapshot.step, snapshot.cursor, snapshot.counters, digest), "adopted")

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        await self.host.busy(SHARD_SECONDS * len(batch.shards) / self.history.speed(self.host.rank, batch.step))
        gradients: dict[int, str] = dict(local.gradients or {})
        for shard in batch.shards:
            ids = batch.sample_ids[shard]
            gradients[shard] = gradients.get(shard, "") + digest_of(self._digest, ids)
            tokens = sum(map(tokens_of, ids))
            local.tallies[shard] = ShardTally(shard, 2.0 * tokens, tokens, ids)
        local.gradients = gradients
        local.useful_tokens += batch.useful_tokens
        local.computed_positions += batch.computed_positions

    async def begin_next(self, local: Local, batch: Batch) -> Local | None:
        return None

    async def parts(self, local: Local) -> Mapping[Node, Any]:
        await self.host.busy(0.001)
        return {(int(self.host.rank), 1): self._part(local)} if local.tallies else {}

    def _part(self, local: Local) -> Part:
        gradients: dict[int, str] = dict(local.gradients or {})
        samples = {sample for tally in local.tallies.values() for sample in tally.sample_ids}
        return Part(tuple(sorted(gradients.items())), not samples & self.history.poison)

    async def measure(self, local: Local, summed: Any, portion: object = None) -> Measured:
        await self.host.busy(0.001)
        parts: list[Part] = [self._part(local)] if summed is None else summed
        gradient = gradient_of(parts, deterministic=self.history.deterministic)
        self.prepared[local.step] = gradient
        finite = all(part.finite for part in parts)
        return Measured(finite, float(int(gradient[:6], 16)) if finite else float("nan"))

    async def own_square_sum(self, local: Local) -> float:
        await self.host.busy(0.001)
        return 1.0 if self._part(local).finite else float("nan")

    async def apply(self, verdict: Verdict, cursor: Cursor, counters: Mapping[str, float]) -> None:
        await self.host.busy(APPLY_SECONDS)
        committed = verdict.committed
        gradient, digest = self.prepared.pop(committed.step), self._digest
        if committed.applied:
            digest = updated(digest, gradient, committed.tokens, verdict.learning_rate, verdict.update)
        self.is_whole = not self.history.slices
        self._now_holds(State(committed.step, cursor, dict(counters), digest), "applied")

    async def evaluate(self, work: EvaluateWork, rank: Rank, generation: Generation) -> Evaluated:
        await self.host.busy(EVALUATE_SECONDS)
        share = work.workers.index(rank)
        tokens = 60 // len(work.workers) + (share < 60 % len(work.workers))
        return Evaluated(generation, Step(self.holds), 1.5 * tokens, tokens, 0, ())

    def sizes(self) -> StateSizes:
        return StateSizes({"digest": 16}, {})

    async def snapshot(self, share: Share | None = None) -> Snapshot:
        await self.host.busy(0.001)
        assert self.state is not None
        state = self.state
        return Snapshot(state.step, state.cursor, {"digest": state.digest}, {}, dict(state.counters))

    async def parameter_hash(self) -> str:
        await trio.lowlevel.checkpoint()
        return self._digest

    @property
    def _digest(self) -> str:
        assert self.state is not None, "no state: restore or adopt one first"
        assert self.is_whole, "parameters that are not all here were used"
        return self.state.digest

    def _now_holds(self, state: State, how: str) -> None:
        self.state = replace(state, counters=dict(state.counters))
        self.host.observe(self.state, how)


@dataclass
class VirtualFeeder:
    """Implements `engine.Feeder`: sample n is number n."""

    history: History
    wait: Callable[[float], Any] = trio.sleep

    def ready(self, order: StepOrder, rank: Rank) -> Batch | None:
        return None

    async def take(self, order: StepOrder, rank: Rank) -> Batch:
        await self.wait(FEED_SECONDS)
        shards = order.shards_of(rank)
        ids = {shard: shard_samples(order.cursor, order.samples, shard, len(order.owners)) for shard in shards}
        tokens = sum(tokens_of(sample) for samples in ids.values() for sample in samples)
        return Batch(order.step, order.cursor, tuple(map(ShardId, shards)), (), ids, tokens, tokens)
