"""A world whose replicas are stages of pipelines: each rank has a thread of its own, and messages go through memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import Queue
from threading import Lock
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from runtime.app.staging import anatomy_in, let_go
from runtime.cluster.ballot import Ballot
from runtime.cluster.grid import Grid
from runtime.cluster.messages import Verdict, Vote
from runtime.collectives.direct import Tag
from runtime.collectives.tree import combine
from runtime.data.batches import eval_micros
from runtime.flow import CommittedStep, Node, StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.pipeline.actions import ScheduleName
from runtime.pipeline.partition import Partition
from runtime.trainer.engine import Local, Measured
from runtime.trainer.gradients import trainable
from runtime.trainer.neighbours import Neighbours, Place
from runtime.trainer.replica import Replica
from runtime.trainer.stage_part import StagePart
from runtime.trainer.stage_step import add_through_stages, judge_of
from runtime.trainer.update import Update
from tests.unit.trainer.world import LEARNING_RATE, World, build

T = TypeVar("T")
GUARD_SECONDS = 60.0


@dataclass
class MemoryPort:
    """What `Neighbours` asks of a PointToPoint, for ranks of one process."""

    rank: Rank
    boxes: dict[tuple[Rank, Rank, Tag], Queue[Any]]
    lock: Any

    def send(self, to: Rank, tag: Tag, data: Any, *, capacity: int, within_seconds: float) -> None:
        self._box(self.rank, to, tag).put(np.array(data))

    def receive(self, source: Rank, tag: Tag, *, within_seconds: float) -> Any:
        return self._box(source, self.rank, tag).get(timeout=GUARD_SECONDS)

    def _box(self, source: Rank, to: Rank, tag: Tag) -> Queue[Any]:
        with self.lock:
            return self.boxes.setdefault((source, to, tag), Queue())


@dataclass
class StagedWorld(World):
    """`ranks` = pipelines x stages. Leave it with `close`."""

    stages: int = 2
    schedule: ScheduleName = "1f1b"
    recompute: str = "none"
    cut: tuple[int, ...] = ()
    """Layers of each piece; empty: as even as they can be."""
    threads: list[ThreadPoolExecutor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grid = Grid(self.stages)
        self._boxes: dict[tuple[Rank, Rank, Tag], Queue[Any]] = {}
        self._lock = Lock()
        self.threads = [ThreadPoolExecutor(1) for _ in range(self.ranks)]
        ranks, self.ranks = self.ranks, 0
        super().__post_init__()
        self.ranks = ranks
        self.replicas = self.everywhere(self._begun)

    def close(self) -> None:
        for thread in self.threads:
            thread.shutdown()

    def everywhere(self, function: Callable[[Rank], T]) -> list[T]:
        """The function on each rank's own thread, all at once."""
        running: list[Future[T]] = [thread.submit(function, Rank(rank)) for rank, thread in enumerate(self.threads)]
        return [each.result(GUARD_SECONDS) for each in running]

    def _begun(self, rank: Rank) -> Replica:
        made = self.staged(rank)
        made.begin()
        return made

    def staged(self, rank: Rank) -> Replica:
        """A replica of this rank's stage, without a state; on the rank's thread."""
        make = self.build or partial(build, dtype=self.dtype)
        model = make()
        chunks = 2 if self.schedule == "interleaved" else 1
        anatomy = anatomy_in(model, self.compute)
        pieces = self.stages * chunks
        cut = self.cut or tuple(anatomy.count * (i + 1) // pieces - anatomy.count * i // pieces for i in range(pieces))
        part = StagePart(
            model, anatomy, Partition(cut, self.stages), self.schedule, self.grid.stage_of(rank),
            recompute=self.recompute,
        )  # fmt: skip
        let_go(model, part.owned)
        part.neighbours = Neighbours(MemoryPort(rank, self._boxes, self._lock), rank, self.grid)  # type: ignore[arg-type]  # a port in memory, of the same methods
        own = {name: value for name, value in trainable(model).items() if name in part.owned}
        update = Update(own, self.optim, self.max_grad_norm, compiled=self.compiled)
        flags = self.deterministic, self.compiled, self.compute, self.loss_scale, 11, self.base_hash
        model.train()
        return Replica(model, lambda: trainable(make()), update, self.shards, *flags, stage=part)

    def order(self, step: int, owners: Any = None) -> StepOrder:
        leads = [self.grid.stages * group for group in range(self.ranks // self.stages)]
        chosen = tuple(Rank(leads[shard * len(leads) // self.shards]) for shard in range(self.shards))
        head = Generation(step), Step(step), self.cursor, self.global_batch
        return StepOrder(*head, chosen, tuple(Rank(rank) for rank in range(self.ranks)))

    def step(self, step: int, owners: Any = None, rate: float = LEARNING_RATE) -> Verdict:
        order = self.order(step)

        def compute(rank: Rank) -> tuple[Local, dict[Node, Any]]:
            local, seen = Local(order.step, generation=order.generation), self.grid.view(order, rank)
            add_through_stages(self.replicas[rank], local, self.batch(seen, rank))
            parts = self.replicas[rank].parts(local, (rank // self.stages, 1))
            return local, {node: np.array(part) for node, part in parts.items()}

        done = self.everywhere(compute)
        measured = self.everywhere(lambda rank: self._measured(rank, done))
        verdict, self.counters = self._counted(order, [local for local, _ in done], measured, rate)
        self.cursor = Cursor(self.cursor + self.global_batch)
        self.everywhere(lambda rank: self._applied(rank, verdict))
        return verdict

    def _measured(self, rank: Rank, done: list[tuple[Local, dict[Node, Any]]]) -> Measured:
        twins = self.grid.twins(rank, [Rank(each) for each in range(self.ranks)])
        if len(twins) == 1:
            return self.replicas[rank].measure(done[rank][0], None)
        parts: dict[Node, Any] = {}
        for twin in twins:
            parts |= done[twin][1]
        with np.errstate(invalid="ignore"):
            summed = combine(parts, self.shards if self.deterministic else len(twins), operator.add)
        return self.replicas[rank].measure(done[rank][0], summed)

    def _applied(self, rank: Rank, verdict: Verdict) -> None:
        self.replicas[rank].apply(verdict, self.cursor, self.counters)
        mx.eval(self.replicas[rank].trained)

    def _counted(
        self, order: StepOrder, locals_: list[Local], measured: list[Measured], rate: float
    ) -> tuple[Verdict, dict[str, float]]:
        ballot = Ballot(order, grid=self.grid)
        for rank in ballot.contributors:
            tallies = tuple(locals_[rank].tallies[shard] for shard in sorted(locals_[rank].tallies))
            own = measured[rank]
            vote = Vote(order.generation, order.step, tallies, own.finite, own.square_sum, 0.0, 0.0, 0.0, 0, 0)
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

    def held_out(self, step: int) -> list[tuple[float, float]]:
        """(loss, right) of all samples as the last stage of each pipeline knows it; every pipeline judges them all."""
        micros = eval_micros(self.dataset, 0, 1, self.shaping)

        def judge(rank: Rank) -> tuple[float, float]:
            judged = judge_of(self.replicas[rank], Place(Generation(1000 + step), Step(step)))
            found = [judged.functions.judge(judged.trained, each.tokens_BT, each.mask_BT) for each in micros]
            return float(sum(losses.sum().item() for losses, _ in found)), float(sum(r.sum().item() for _, r in found))

        return self.everywhere(judge)

    def everything(self, group: int = 0) -> dict[str, np.ndarray[Any, Any]]:
        """The parameters of one pipeline, put together from its stages; copies of one are equal to the bit."""
        whole: dict[str, np.ndarray[Any, Any]] = {}
        for rank in self.grid.group_of(Rank(group * self.stages)):
            for name, value in self.threads[rank].submit(lambda r=rank: _copies(self.replicas[r])).result().items():
                assert name not in whole or np.array_equal(whole[name], value), f"two copies of {name} differ"
                whole[name] = value
        return whole


def _copies(replica: Replica) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.array(value.astype(mx.float32)) for name, value in replica.snapshot().parameters.items()}


@contextmanager
def staged(**fields: Any) -> Iterator[StagedWorld]:
    """A staged world whose threads end with the block."""
    world = StagedWorld(**fields)
    try:
        yield world
    finally:
        world.close()


def names_of(model: Any) -> set[str]:
    return {name for name, _ in tree_flatten(model.parameters())}
