"""The model, its optimizer state and the gradients under way, on the device.

Lives on the MLX thread; nothing here awaits.

Arrays are immutable, so the state before a step stays valid for whoever still holds it (a snapshot on its way to disk
or to a newcomer), and a step that is not committed leaves no trace. Whatever nobody holds is reused in place: during an
update there is one optimizer state and not two. For this no second name may be left on the old arrays, so the model
object is hollow: its trained parameters are put in when it is called and taken out before they are replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from runtime.checkpoint.shares import Share, StateSizes
from runtime.cluster.loss_scale import LossScale
from runtime.cluster.messages import Order, Verdict
from runtime.cluster.slices import Portion
from runtime.collectives.tree import TreeSum
from runtime.flow import Array, Batch, Micro, Node, Snapshot
from runtime.ids import Cursor, Rank, Step
from runtime.models.host_copies import lock, to_device
from runtime.models.quantized import parameter_count
from runtime.optim.optimizer import refitted
from runtime.trainer.ahead import Ahead, begin_step, begin_update
from runtime.trainer.arrays import added, fitting, readable, sizes_of, state_of
from runtime.trainer.dropout import row_numbers
from runtime.trainer.engine import Local, Measured
from runtime.trainer.gradients import GradientFunctions, Tree, trainable
from runtime.trainer.host_vectors import HostVectors
from runtime.trainer.memory import within_memory
from runtime.trainer.neighbours import Place
from runtime.trainer.slices import Gradient, HostPieces, Slices
from runtime.trainer.stage_part import StagePart
from runtime.trainer.state import Prepared, State
from runtime.trainer.tally import tallied
from runtime.trainer.update import Update


@dataclass
class Replica:
    """One device's copy of the run's state. `state` is None until it was restored or adopted."""

    model: Any
    """Its parameters are the initial ones until the first state; afterwards it is empty between calls."""
    rebuild: Callable[[], Tree]
    """Its initial trained parameters once more, for a run that goes back to its beginning."""
    update: Update
    logical_shards: int
    deterministic: bool
    compiled: bool
    compute: mx.Dtype | None = None
    """What both passes compute in; None: in the parameters' own dtype."""
    loss_scale: LossScale | None = None
    """Of float16."""
    seed: int = 0
    """run.seed, for dropout."""
    base_hash: str = ""
    """Identity of the frozen base under an adapter, which is no part of the state; empty: there is no such base."""
    slice_count: int = 0
    """> 0: it keeps slices of the optimizer's state, out of so many."""
    recompute: str = "none"
    """train.grad_checkpoint."""
    memory_bytes: int = 0
    """Of the device; updates are begun before their verdicts as far as they fit in there (see `ahead`)."""
    stage: StagePart | None = None
    """In a pipeline: its state is that of this stage's parameters, and `update` is of these (see `stage_step`)."""
    state: State | None = None
    prepared: dict[Step, Prepared] = field(default_factory=dict)

    def __post_init__(self) -> None:
        how = self.recompute if self.stage is None else "none"  # its pieces do it
        self.functions = GradientFunctions(self.model, compiled=self.compiled, compute=self.compute, recompute=how)
        self.settled_step = 0
        """The last step that met a new shape or compiled anything."""
        initial, everything = trainable(self.model), dict(tree_flatten(self.model.parameters()))
        self.elements, self.trained_elements = parameter_count(self.model), sum(each.size for each in initial.values())
        """Parameters of the whole model, and how many of them are trained."""
        if self.stage is not None:
            initial, everything = self.stage.own(initial), self.stage.own(everything)
        self.frozen = {name: value for name, value in everything.items() if name not in initial and not self.base_hash}
        """What is saved with every state although it never changes."""
        self.shapes = {name: tuple(value.shape) for name, value in initial.items()}
        self._dtypes = {name: value.dtype for name, value in initial.items()}
        self._initial: Tree | None = initial
        self.host = HostVectors(self.update.layout)
        self.slices = Slices.of(initial, self.update, self.slice_count, self.host) if self.slice_count else None
        hollow = [(name, mx.zeros(each.shape if self.stage else 0, each.dtype)) for name, each in initial.items()]
        self._hollow = tree_unflatten(hollow)  # a stage's model is called with some of it in place, never evaluated

    # ---- state

    def begin(self, held: Sequence[int] = ()) -> int:
        """The initial state: step 0, fresh optimizer (of the slices `held`). Returns its size in bytes."""
        parameters = self._initial if self._initial is not None else self.rebuild()
        optimizer = self.update.initial(parameters) if self.slices is None else self.slices.begin(parameters, held)
        return self._adopt(Step(0), Cursor(0), {}, dict(parameters), optimizer)

    def assume(self, step: Step, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """Be at this state without having any of it: a newcomer to sharded replicas, who give it what it needs."""
        self.forget()
        self.state, self._initial = State(step, cursor, dict(counters), {}, {}), None
        self.model.update(self._hollow)

    def adopt(self, snapshot: Snapshot, held: Sequence[int] = ()) -> int:
        """Take over a state, from disk or a peer; returns its size in bytes. ModelError if it is another model's.

        It may have been stored in another dtype: nothing is lost but what a 16-bit parameter cannot hold.
        """
        given = fitting(snapshot, self.shapes)
        optimizer = state_of(snapshot, self.shapes)
        given, optimizer = refitted(given, optimizer, self._dtypes)
        if self.slices is not None:
            optimizer = self.slices.adopt(optimizer, held)
        return self._adopt(snapshot.step, snapshot.cursor, dict(snapshot.counters), given, optimizer)

    def _adopt(self, step: Step, cursor: Cursor, counters: dict[str, float], parameters: Tree, optimizer: Tree) -> int:
        self.state, self._initial = State(step, cursor, counters, parameters, optimizer), None
        self.model.update(self._hollow)
        mx.eval(parameters, optimizer)
        return self.state_bytes()

    def state_bytes(self) -> int:
        """Of the present state, on the device."""
        state = self.now()
        return sum(value.nbytes for value in (*state.parameters.values(), *state.optimizer.values()))

    def go_on(self, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """The run goes on from the present state with these."""
        state = self.now()
        state.cursor, state.counters = cursor, dict(counters)

    def forget(self) -> None:
        """Drop the state and what was prepared."""
        self.state = None
        self.prepared.clear()
        if self.slices is not None:
            self.slices.forget()

    def sizes(self) -> StateSizes:
        """How large every tensor of the present state is; of a stage, of those that it answers for."""
        state = self.now()
        optimizer = sizes_of(state.optimizer) if self.slices is None else {}
        sizes = StateSizes(sizes_of(self.frozen | state.parameters), optimizer)
        return sizes if self.stage is None else self.stage.answered(sizes)

    def snapshot(self, share: Share | None = None) -> Snapshot:
        """The present state, or a share of it, by reference (by copy where a host view would move the original, as
        under CUDA)."""
        state = self.now()
        mx.eval(state.parameters, state.optimizer)  # apply only dispatches
        head, parameters = (state.step, state.cursor), self.frozen | state.parameters
        if self.slices is None:
            everything = Snapshot(*head, parameters, state.optimizer, state.counters)
        else:
            wanted = self.slices.held if share is None else share.slices
            optimizer, pieces = self.slices.pieces_of(state.optimizer, wanted)
            mx.eval(optimizer)
            everything = Snapshot(*head, parameters, optimizer, state.counters, pieces)
        taken = everything if share is None else share.of(everything)
        return replace(taken, parameters=readable(taken.parameters), optimizer=readable(taken.optimizer))

    def readable_parameters(self) -> Tree:
        """What a snapshot would have of the parameters."""
        parameters = self.frozen | self.now().parameters
        mx.eval(parameters)
        return readable(parameters)

    @property
    def trained(self) -> Tree:
        """The present trainable parameters, by name."""
        return self.now().parameters

    @contextmanager
    def model_in_use(self) -> Iterator[Any]:
        """The model itself with the present parameters, in evaluation mode; empty and training again afterwards."""
        self.model.update(tree_unflatten(list(self.now().parameters.items())))
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train()
            self.model.update(self._hollow)

    def now(self) -> State:
        """The present state; RuntimeError where there is none."""
        if self.state is None:
            raise RuntimeError("no state: restore or adopt one first")
        return self.state

    def add_gradients(self, local: Local, batch: Batch) -> None:
        """Compute every shard of `batch` and add it to `local`; float32 sums over tokens."""
        with self.noting_shapes(local.step):
            if self.deterministic:
                self._add_by_tree(local, batch)
            else:
                self._add_in_a_row(local, batch)
        self._empty()
        local.useful_tokens += batch.useful_tokens
        local.computed_positions += batch.computed_positions

    def _empty(self) -> None:
        """Leave the model no array, or casts of 16-bit parameters outlive their use."""
        if self.functions.filled:
            self.functions.filled = False
            self.model.update(self._hollow)

    @contextmanager
    def noting_shapes(self, step: Step) -> Iterator[None]:
        """Whether a new shape was met in here, or something compiled, is remembered."""
        met = len(self.functions.shapes), self.functions.traced
        yield
        if met != (len(self.functions.shapes), self.functions.traced):
            self.settled_step = step

    def _add_in_a_row(self, local: Local, batch: Batch) -> None:
        total: Any = local.gradients
        losses: list[mx.array] = []
        whole = total is None and len(batch.micros) == 1
        if whole and local.begun is not None and local.begun.is_of(self.now().parameters, batch):
            self._finish(local, batch, batch.micros, [local.begun.losses_B], local.begun.gradients)
            local.gradients, local.begun = local.begun.gradients, None
            return
        local.begun = None
        for micro, rows in self.numbered(local, batch):
            losses_B, total = self.added(total, micro, rows, whole=whole)
            losses.append(losses_B)
            mx.async_eval(losses_B, total)
        self._finish(local, batch, batch.micros, losses, total)
        local.gradients = total

    def _finish(self, local: Local, batch: Batch, micros: Sequence[Micro], losses: list[mx.array], total: Any) -> None:
        """Wait for `total`, all that `batch` was added to, and count what was in it."""
        if local.alone:
            done = sum(tally.tokens for tally in local.tallies.values())
            tokens = done + sum(sum(micro.targets()) for micro in micros)
            (gradient,) = total.values() if self.deterministic else (total,)
            local.square_sum = self.update.square_sum(gradient)
            mx.async_eval(losses, local.square_sum)
            local.ahead = begin_update(self, local, gradient, tokens)
            following = local.following
            if following is not None:  # so that the device has work at every moment
                local.next = within_memory(lambda: begin_step(self, local, total, following))
        mx.eval(losses, total, local.square_sum)
        local.tallies |= tallied(batch, micros, losses)

    def begin_next(self, local: Local, batch: Batch) -> Local | None:
        """The gradients of the step after `local`'s under way, on the parameters that are under way themselves."""
        return None if local.gradients is None else begin_step(self, local, local.gradients, batch)

    def added(
        self, total: Tree | None, micro: Micro, rows: Array, *, whole: bool = False, parameters: Tree | None = None
    ) -> tuple[mx.array, Tree]:
        """(row losses, `total` plus the gradients of one micro-batch), lazily; `whole`: nothing will be added to it;
        `parameters`: others than the present ones."""
        state = self.now()
        scale = None if self.loss_scale is None else mx.array(self.loss_scale.after(state.counters), mx.float32)
        here, packing = state.parameters if parameters is None else parameters, micro.packing
        return self.functions.add(here, total, micro.tokens_BT, micro.mask_BT, scale, rows, packing, whole=whole)

    def _add_by_tree(self, local: Local, batch: Batch) -> None:
        """Shards from left to right, what was already there between them; at most log2(V) + 1 sums live at once."""
        done: dict[Node, Tree] = dict(local.gradients or {})
        micros: dict[Node, list[tuple[Micro, Array]]] = {(shard, 1): [] for shard in batch.shards}
        for micro, rows in self.numbered(local, batch):
            micros[micro.shards[0], 1].append((micro, rows))
        tree: TreeSum[Tree] = TreeSum(self.logical_shards, added)
        losses: list[mx.array] = []
        for node in sorted([*done, *micros]):
            total: Tree | None = done.pop(node, None)
            for micro, rows in micros.get(node, ()):
                losses_B, total = self.added(total, micro, rows)
                losses.append(losses_B)
                mx.async_eval(losses_B, total)  # at once: a graph of several micro-batches would hold them all
            assert total is not None  # a shard has at least one micro-batch, of padding if it is empty
            tree.push(node, total)
            mx.async_eval(list(tree.parts.values()))
        self._finish(local, batch, [micro for node in sorted(micros) for micro, _ in micros[node]], losses, tree.parts)
        local.gradients = tree.parts

    def numbered(self, local: Local, batch: Batch) -> list[tuple[Micro, Array]]:
        """The micro-batches, each with the numbers of its rows where there is dropout."""
        if not self.functions.drops:
            return [(micro, None) for micro in batch.micros]
        return list(zip(batch.micros, row_numbers(self.seed, local.step, batch.micros), strict=True))

    def parts(self, local: Local, label: Node) -> Mapping[Node, Array]:
        """`local`'s gradients as flat float32 host vectors: by tree node when deterministic, else one under `label`.

        The next call uses the same vectors again."""
        found: Any = local.gradients
        if found is None:
            return {}
        trees: dict[Node, Tree] = found if self.deterministic else {label: found}
        return {node: self.host.filled(number, tree) for number, (node, tree) in enumerate(trees.items())}

    def measure(self, local: Local, summed: Array | None, portion: Portion | None = None) -> Measured:
        """Prepare the step's summed gradient; its square sum is taken the same way on every worker.

        Of a `portion`, this worker's part of the square sum alone."""
        found: Any = local.gradients
        gradient: Gradient
        if summed is not None:
            local.square_sum = local.ahead = local.next = None
        if summed is not None and portion is not None:
            assert self.slices is not None
            gradient = self.slices.received(summed, portion)
            value = self.slices.square_sum(gradient)
        else:
            (whole,) = found.values() if self.deterministic and summed is None else (found,)
            gradient = counted = whole if summed is None else to_device([lock(summed)])[0]
            if self.stage is not None:
                gradient, counted = self.stage.joined(Place(local.generation, local.step), self.update.tree(gradient))
            square = self.update.square_sum(counted) if local.square_sum is None else local.square_sum
            mx.eval(square, gradient)
            value = float(square.item())
        self.prepared[local.step] = Prepared(gradient, value, local)
        return Measured(bool(np.isfinite(value)), value)

    def own_square_sum(self, local: Local) -> float:
        """Sum of squares of `local`'s own part of the gradient."""
        found: Any = local.gradients or {}
        trees: list[Tree] = list(found.values()) if self.deterministic else [found]
        return float(self.update.square_sum(functools.reduce(added, trees)).item()) if found else 0.0

    def apply(self, verdict: Verdict, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """Close the prepared step. It returns when the device has its orders, not when they are done."""
        state, committed = self.now(), verdict.committed
        prepared = self.prepared.pop(committed.step)
        if committed.applied:
            self._update(state, prepared, verdict)
        state.step, state.cursor, state.counters = committed.step, cursor, dict(counters)

    def _update(self, state: State, prepared: Prepared, verdict: Verdict) -> None:
        """The state that the verdict asks for, in place of `state`'s. `prepared` is of no use afterwards."""
        numbers, square_sum = self.update.of_verdict(verdict)
        local, gradient, square = prepared.local, prepared.gradient, mx.array(square_sum, mx.float32)
        ahead: Ahead | None = local.ahead if prepared.square_sum == square_sum else None
        local.gradients = local.ahead = None
        prepared.gradient = {}
        self._empty()
        if ahead is not None and ahead.is_after(state.parameters, numbers):
            state.parameters, state.optimizer = ahead.parameters, ahead.optimizer
            return
        del ahead
        if self.slices is None:
            assert not isinstance(gradient, HostPieces)
            state.parameters, state.optimizer = self.update(
                state.parameters, state.optimizer, gradient, square, numbers
            )
        else:
            optimizer = self.slices.apply(state.parameters, state.optimizer, gradient, square, numbers)
            state.parameters, state.optimizer = {}, optimizer
            mx.async_eval(self.slices.weights)
        del gradient
        mx.async_eval(state.parameters, state.optimizer)

    # ---- between two steps, when the optimizer is sharded

    def lend(self, order: Order, rank: Rank) -> Array:
        """A host vector with what this rank has for the others (see `slices`)."""
        assert self.slices is not None
        state = self.now()
        return self.slices.lend(state.parameters, state.optimizer, order, rank)

    def complete(self, order: Order, rank: Rank, vector: Array) -> int:
        """Take what the others had; returns how many bytes came. All parameters are here, and the slices to keep."""
        assert self.slices is not None
        state = self.now()
        state.parameters, state.optimizer, size_bytes = self.slices.complete(
            state.parameters, state.optimizer, order, rank, vector
        )
        mx.eval(state.parameters, state.optimizer)
        return size_bytes
