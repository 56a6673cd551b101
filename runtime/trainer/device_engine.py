"""The replica behind its thread: the `Engine` that a real trainer has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import outcome
import trio

from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.reader import check_base_hash, load
from runtime.checkpoint.shares import Share, StateSizes
from runtime.cluster.messages import Evaluated, EvaluateWork, Order, Restore, Verdict
from runtime.cluster.slices import Portion
from runtime.events import DeviceMeasured, MicroBatchHalved
from runtime.flow import Array, Batch, Node, Snapshot
from runtime.ids import Cursor, Generation, Incarnation, Rank, Step
from runtime.trainer.device_thread import DeviceThread
from runtime.trainer.engine import Local, Measured
from runtime.trainer.evaluate import HeldOut
from runtime.trainer.exchange import on_device
from runtime.trainer.fitting import Fitting
from runtime.trainer.neighbours import Place
from runtime.trainer.replica import Replica
from runtime.trainer.stage_step import add_through_stages, judge_of

T = TypeVar("T")


class DeviceEngine:
    """Implements `engine.Engine`. Made on the device thread's owner task; every call hops to the thread."""

    def __init__(
        self,
        thread: DeviceThread,
        replica: Replica,
        held_out: HeldOut,
        run_folder: Path,
        rank: Rank,
        say: Callable[[MicroBatchHalved], None] = lambda _: None,
    ) -> None:
        """`say` takes what the journal should know."""
        self._thread, self._replica, self._held_out = thread, replica, held_out
        self._run_folder, self._rank, self._label = run_folder, rank, (int(rank), 1)
        self._fitting = Fitting(thread, replica, rank, say)

    @property
    def holds(self) -> int:
        """See Engine."""
        return -1 if self._replica.state is None else self._replica.state.step

    @property
    def cursor(self) -> Cursor:
        """See Engine."""
        return Cursor(0) if self._replica.state is None else self._replica.state.cursor

    @property
    def counters(self) -> Mapping[str, float]:
        """See Engine."""
        return {} if self._replica.state is None else self._replica.state.counters

    @property
    def slices(self) -> tuple[int, ...]:
        """See Engine."""
        slices = self._replica.slices
        return () if slices is None or self._replica.state is None else slices.held

    def has_prepared(self, step: Step) -> bool:
        """See Engine."""
        return step in self._replica.prepared

    def discard(self, step: Step) -> None:
        """See Engine."""
        self._replica.prepared.pop(step, None)

    def forget(self) -> None:
        """See Engine."""
        self._replica.forget()

    async def restore(self, order: Restore) -> int:
        """See Engine.

        Raises CheckpointError when the checkpoint is not what it was, ModelError when it does not fit.
        """
        return await self._thread.run(self._restore, order)

    def _restore(self, order: Restore) -> int:
        replica = self._replica
        path = self._run_folder / order.path
        if order.path:
            check_base_hash(path, replica.base_hash)
        size_bytes = replica.adopt(load(path, self._needs), order.slices) if order.path else replica.begin(order.slices)
        replica.go_on(order.cursor, order.counters)
        return size_bytes

    def _needs(self, name: str) -> bool:
        return self._replica.stage is None or name in self._replica.stage.owned

    async def adopt(self, snapshot: Snapshot) -> None:
        """See Engine."""
        await self._thread.run(lambda: self._replica.adopt(on_device(snapshot)))

    def assume(self, order: Order) -> None:
        """See Engine."""
        self._replica.assume(order.state, order.cursor, order.counters)

    async def lend(self, order: Order) -> Array:
        """See Engine."""
        return await self._thread.run(self._replica.lend, order, self._rank)

    async def complete(self, order: Order, vector: Array) -> int:
        """See Engine."""
        return await self._thread.run(self._replica.complete, order, self._rank, vector)

    async def add_gradients(self, local: Local, batch: Batch) -> None:
        """See Engine. Raises WorkerUnfit when the device has not enough memory for a single row.

        The stages of a pipeline work on the same micro-batches: what is too large for one of them ends its process."""
        if self._replica.stage is None:
            await self._fitting.add_gradients(local, batch)
        else:
            await self._together(local.generation, add_through_stages, self._replica, local, batch)

    async def begin_next(self, local: Local, batch: Batch) -> Local | None:
        """See Engine."""
        return await self._thread.run(self._fitting.begin_next, local, batch)

    async def parts(self, local: Local) -> Mapping[Node, Array]:
        """See Engine."""
        return await self._thread.run(self._replica.parts, local, self._label)

    async def measure(self, local: Local, summed: Array | None, portion: Portion | None = None) -> Measured:
        """See Engine."""
        return await self._together(local.generation, self._replica.measure, local, summed, portion)

    async def own_square_sum(self, local: Local) -> float:
        """See Engine."""
        return await self._thread.run(self._replica.own_square_sum, local)

    async def apply(self, verdict: Verdict, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """See Engine."""
        await self._thread.run(self._replica.apply, verdict, cursor, counters)

    def sizes(self) -> StateSizes:
        """See Engine."""
        return self._replica.sizes()

    async def snapshot(self, share: Share | None = None) -> Snapshot:
        """See Engine."""
        return await self._thread.run(self._replica.snapshot, share)

    async def measured(self, incarnation: Incarnation, planned_bytes: int) -> DeviceMeasured:
        """What this device had to hold so far, and how many shapes it met."""
        return await self._thread.run(self._measured, incarnation, planned_bytes)

    def _measured(self, incarnation: Incarnation, planned_bytes: int) -> DeviceMeasured:
        functions, rank = self._replica.functions, self._rank
        return DeviceMeasured(
            rank,
            incarnation,
            Step(max(0, self.holds)),
            self._fitting.peak_bytes,
            planned_bytes,
            len(functions.shapes),
            functions.traced,
            self._replica.settled_step,
        )

    async def parameter_hash(self) -> str:
        """See Engine."""
        parameters = await self._thread.run(self._replica.readable_parameters)
        return await trio.to_thread.run_sync(parameter_hash, parameters)  # the device is free meanwhile

    async def evaluate(self, work: EvaluateWork, rank: Rank, generation: Generation) -> Evaluated:
        """See Engine."""
        return await self._together(generation, self._evaluate, work, rank, generation)

    def _evaluate(self, work: EvaluateWork, rank: Rank, generation: Generation) -> Evaluated:
        index, count, stage = work.workers.index(rank), len(work.workers), self._replica.stage
        judged = judge_of(self._replica, Place(generation, Step(self.holds)))
        sums = self._held_out.judge(judged, index, count, work.max_batches)
        if stage is not None:
            tokens = sums.tokens if stage.is_last else 0
            return Evaluated(generation, Step(self.holds), sums.loss_sum, tokens, sums.correct, ())
        answers = self._held_out.answer(self._replica, index, count, work.answers)
        counted = self._held_out.count(answers)
        return Evaluated(generation, Step(self.holds), sums.loss_sum, sums.tokens, sums.correct, answers, counted)

    async def _together(self, generation: Generation, function: Callable[..., T], *arguments: Any) -> T:
        """Run on the device what may wait there for the other stages of a pipeline. Cancelled, it ends early.

        Raises Aborted when it was, and RankLost when a stage is gone."""
        stage = self._replica.stage
        if stage is None:
            return await self._thread.run(function, *arguments)
        running = True

        async def end_early() -> None:
            try:
                await trio.sleep_forever()
            finally:
                if running:
                    stage.abort(generation)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_early)
            ended = await outcome.acapture(self._thread.run, function, *arguments)
            running = False
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return ended.unwrap()  # out here, so that what it raises is in no exception group
