"""A whole pipeline in one thread: every stage takes its turn as far as its messages let it, and nothing sleeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np

from runtime.flow import Micro
from runtime.ids import ShardId
from runtime.models.anatomy import Anatomy, examine
from runtime.models.piece import Bytes, Piece, Tree
from runtime.pipeline.actions import Payload, Receive, Schedule, Send
from runtime.pipeline.stage import StageStep, Totals
from runtime.trainer.gradients import row_losses

VOCABULARY = 48


@dataclass
class Channels:
    """Implements Link for every stage at once; a schedule that sends in one order and receives in another fails."""

    capacity: int
    waiting: dict[tuple[Payload, int, int], deque[tuple[int, int, Bytes]]] = field(default_factory=dict)
    stage: int = 0
    """Whose turn it is."""

    def send(self, send: Send, data: Bytes) -> None:
        channel = self.waiting.setdefault((send.payload, self.stage, send.peer), deque())
        channel.append((send.micro_batch, send.boundary, data.copy()))

    def receive(self, receive: Receive) -> Bytes:
        micro_batch, boundary, data = self.waiting[receive.payload, receive.peer, self.stage].popleft()
        assert (micro_batch, boundary) == (receive.micro_batch, receive.boundary)
        return data

    def ready(self, action: Any) -> bool:
        """Whether the stage whose turn it is would not have to wait."""
        match action:
            case Send():
                return len(self.waiting.get((action.payload, self.stage, action.peer), ())) < self.capacity
            case Receive():
                return bool(self.waiting.get((action.payload, action.peer, self.stage)))
        return True


def cut(model: Any, anatomy: Anatomy, positions: int) -> list[Piece]:
    """The model in `positions` pieces of about the same number of layers, by position."""
    bounds = [anatomy.count * index // positions for index in range(positions + 1)]
    return [Piece(model, anatomy, first, stop, row_losses) for first, stop in pairwise(bounds)]


def rehearse(schedule: Schedule, pieces: Sequence[Piece], micros: Sequence[Micro], parameters: Tree) -> list[Totals]:
    """Run a step of `schedule` on all stages; what each of them summed, by stage."""
    link = Channels(schedule.capacity)
    sinks = [Totals() for _ in range(schedule.stages)]
    steps = [
        StageStep(pieces[stage :: schedule.stages], micros, parameters, link, sinks[stage])
        for stage in range(schedule.stages)
    ]
    todo = [deque(actions) for actions in schedule.actions]
    while any(todo):
        before = sum(map(len, todo))
        for stage, actions in enumerate(todo):
            link.stage = stage
            while actions and link.ready(actions[0]):
                steps[stage].do(actions.popleft())
        assert sum(map(len, todo)) < before, "every stage waits for another"
    assert not any(link.waiting.values()), "a message was never received"
    return sinks


def together(sinks: Sequence[Totals]) -> tuple[Tree, list[mx.array]]:
    """All stages' gradients (a tied table's is the sum of both ends') and the losses by micro-batch."""
    gradients: Tree = {}
    losses: Mapping[int, mx.array] = {}
    for sink in sinks:
        losses = sink.losses_by_micro or losses
        for name, value in sink.by_name.items():
            gradients[name] = gradients[name] + value if name in gradients else value
    return gradients, [losses[index] for index in sorted(losses)]


def micros_of(count: int, *, rows: int = 2, tokens: int = 7, seed: int = 0) -> list[Micro]:
    """Random micro-batches of random tokens, some of which are no targets."""
    rng = np.random.default_rng(seed)

    def micro() -> Micro:
        mask = (rng.random((rows, tokens)) < 0.8).astype(np.float32)
        mask[:, 0] = 0
        return Micro((ShardId(0),) * rows, rng.integers(0, VOCABULARY, (rows, tokens), dtype=np.int32), mask)

    return [micro() for _ in range(count)]


def anatomy_of(model: Any) -> Anatomy:
    """Its anatomy; the model is evaluated afterwards."""
    found = examine(model)
    mx.eval(model.parameters())
    return found
