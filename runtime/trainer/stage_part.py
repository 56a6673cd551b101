"""What a replica is when it is one stage of a pipeline: its pieces of the model, and how they work with the others'.

A tied table lies on the first and on the last stage. Each adds up its own part of the gradient, over its twins too, and
then the two swap their sums and add them: the same two numbers on both sides, so both copies stay equal to the bit. It
is counted, and saved, by the first stage alone.

Lives on the MLX thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import mlx.core as mx

from runtime.checkpoint.shares import StateSizes
from runtime.errors import ModelError
from runtime.flow import Array, Micro
from runtime.ids import Generation
from runtime.models.anatomy import Anatomy
from runtime.models.host_copies import bytes_of, of_bytes
from runtime.models.piece import Piece
from runtime.optim.flat import FlatLayout
from runtime.pipeline.actions import Schedule, ScheduleName
from runtime.pipeline.partition import Partition
from runtime.pipeline.schedules import build
from runtime.pipeline.stage import Stage
from runtime.trainer.dropout import Rows
from runtime.trainer.gradients import Tree, judged, row_losses, trainable
from runtime.trainer.neighbours import Neighbours, Place
from runtime.trainer.recompute import Recompute
from runtime.trainer.stage_sums import StageSums

Remembering: TypeAlias = Callable[[], AbstractContextManager[None]]
_schedule: Callable[[ScheduleName, int, int, int], Schedule] = lru_cache(maxsize=8)(build)


class StagePart:
    """One stage of `model`. `neighbours` must be there before anything is computed."""

    def __init__(
        self,
        model: Any,
        anatomy: Anatomy,
        partition: Partition,
        schedule: ScheduleName,
        index: int,
        *,
        recompute: str = "none",
    ) -> None:
        """Stage `index` of the partition. `recompute` is train.grad_checkpoint: `none` or `layer`. Raises ModelError
        when nothing that the stage holds is trained."""
        self.index, self.stages, self.chunks = index, partition.stages, partition.chunks
        self.neighbours: Neighbours | None = None
        self._schedule_name = schedule
        remembering: Remembering = nullcontext if recompute == "none" else Recompute(model, recompute).installed
        self._bounds = partition.bounds()[index :: self.stages]
        self._stage = Stage([Piece(model, anatomy, *each, row_losses, remembering) for each in self._bounds])
        trained = trainable(model)
        if not self._stage.owned & trained.keys():
            raise ModelError(
                f"nothing is trained on stage {index} of parallel.pipeline = {self.stages}; give more of the last "
                "blocks an adapter (model.adapter.layers), or use fewer stages"
            )
        at_an_end = index in (0, self.stages - 1) and self.stages > 1
        self.shared = tuple(sorted(anatomy.tied & trained.keys())) if at_an_end else ()
        """Trained parameters of which this stage and the one at the other end have a copy each."""
        self._shared_layout = FlatLayout.of({name: trained[name] for name in self.shared})

    @property
    def owned(self) -> frozenset[str]:
        """Every parameter that the stage computes with."""
        return self._stage.owned

    @property
    def words(self) -> str:
        """`stage 0 of 2, 1f1b, layers 0-3`."""
        layers = " and ".join(f"{first}-{stop - 1}" for first, stop in self._bounds)
        return f"stage {self.index} of {self.stages}, {self._schedule_name}, layers {layers}"

    @property
    def is_last(self) -> bool:
        """Whether it knows the loss."""
        return self.index == self.stages - 1

    def own(self, arrays: Tree) -> Tree:
        """Those of the stage's parameters."""
        return {name: value for name, value in arrays.items() if name in self.owned}

    def answered(self, sizes: StateSizes) -> StateSizes:
        """Of a state's tensors those that this stage saves."""
        optimizer = {name: size for name, size in sizes.optimizer.items() if self.answers_for(name.partition(".")[2])}
        return StateSizes({name: size for name, size in sizes.parameters.items() if self.answers_for(name)}, optimizer)

    def answers_for(self, name: str) -> bool:
        """Whether it is this stage, and not the other with a copy, that counts and saves one of its parameters."""
        return name not in self.shared or self.index == 0

    def run(
        self,
        place: Place,
        micros: Sequence[Micro],
        parameters: Tree,
        sums: StageSums,
        rows: tuple[Rows, Sequence[Array]] | None,
    ) -> None:
        """Its part of one step; `rows` are where the model looks for their numbers, and these by micro-batch, if it has
        dropout. Raises Aborted and PeerLost."""
        schedule = _schedule(self._schedule_name, self.stages, len(micros), self.chunks)

        def prepare(micro_batch: int) -> float:
            if rows is not None:
                rows[0].numbers_B = mx.array(rows[1][micro_batch])
            return sums.weights[micro_batch]

        link = self._others.link(place, schedule)
        self._stage.run(schedule.actions[self.index], micros, parameters, link, sums, prepare)

    def joined(self, place: Place, gradient: Tree) -> tuple[Tree, Tree]:
        """`gradient`, the sum over all twins, with what the other end's twins have for the shared parameters; and what
        of it goes into the norm here."""
        whole = self._with_shared(place, gradient)
        return whole, {name: value for name, value in whole.items() if self.answers_for(name)}

    def _with_shared(self, place: Place, gradient: Tree) -> Tree:
        if not self.shared:
            return gradient
        mine = self._shared_layout.flatten(gradient)
        mx.eval(mine)
        theirs = self._others.swap(place, self.stages - 1 - self.index, bytes_of(mine))
        return gradient | self._shared_layout.unflatten(mine + of_bytes(theirs, mx.float32, mine.shape))

    def through(self, place: Place, number: int, parameters: Tree, tokens_BT: mx.array) -> mx.array | None:
        """Held-out micro-batch `number` forward through the pieces; the logits [B, S, V] if this is the last stage."""
        pieces, others, positions = self._stage.pieces, self._others, self.stages * self.chunks
        for chunk, piece in enumerate(pieces):
            boundary = number * positions + chunk * self.stages + self.index
            given = None
            if not piece.is_first:
                came = others.take(place, (self.index - 1) % self.stages, boundary - 1)
                given = piece.received(came, tokens_BT)
            made = piece.through(parameters, tokens_BT, given)
            if piece.is_last:
                return made
            mx.eval(made)
            others.hand_on(place, (self.index + 1) % self.stages, boundary, bytes_of(made))
        return None

    def abort(self, generation: Generation) -> None:
        """End what waits for other stages; any thread."""
        self._others.abort(generation)

    @property
    def _others(self) -> Neighbours:
        assert self.neighbours is not None, "the data plane is open before the first order"
        return self.neighbours


@dataclass
class StageJudge:
    """Held-out losses through the whole pipeline: implements `evaluate.Judged` and its functions.

    Every stage of a pipeline goes through the same micro-batches; only the last one knows what came of them.
    """

    part: StagePart
    place: Place
    trained: Tree
    _number: int = 0

    @property
    def functions(self) -> StageJudge:
        """See Judged."""
        return self

    def judge(self, parameters: Tree, tokens: Array, mask: Array) -> tuple[mx.array, mx.array]:
        """(row losses [B], correct first choices [B]); zeros in all stages but the last."""
        tokens_BT, mask_BT = mx.array(tokens), mx.array(mask)
        logits_BSV = self.part.through(self.place, self._number, parameters, tokens_BT)
        self._number += 1
        if logits_BSV is None:
            nothing_B = mx.zeros(tokens_BT.shape[0])
            return nothing_B, nothing_B
        return judged(logits_BSV, tokens_BT, mask_BT)
