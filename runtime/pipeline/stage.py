"""A stage of a pipeline: interprets its list of actions on one device, one micro-batch after another.

It knows what the actions mean, and nothing of where messages travel or what gradients are for: `Link` carries bytes to
the other stages, `Sink` takes the gradients. Everything runs on the MLX thread and blocks; whoever must end it early
makes the link raise.

The order in which gradients come to the sink is that of the actions, ascending in the micro-batch for every chunk in
every schedule; so the sums do not depend on the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import mlx.core as mx

from runtime.errors import ProtocolError
from runtime.flow import Micro
from runtime.models.host_copies import bytes_of
from runtime.models.piece import Bytes, Pass, Piece, Tree
from runtime.pipeline.actions import (
    Action,
    Backward,
    BackwardInput,
    BackwardWeight,
    Compute,
    Forward,
    Receive,
    Send,
)


class Link(Protocol):
    """The messages of one step between the stages of one pipeline. Both calls block, within the link's deadline.

    They raise PeerLost when the other stage is gone or late, and Aborted when the step was ended from outside.
    """

    def send(self, send: Send, data: Bytes) -> None:
        """Hand the bytes on; returns when they are copied, which waits only while the channel is full."""
        ...

    def receive(self, receive: Receive) -> Bytes:
        """The message that the other stage sent under the same payload, micro-batch and boundary."""
        ...


class Sink(Protocol):
    """Takes what a stage computes, in the order of its actions."""

    def losses(self, micro_batch: int, losses_B: mx.array) -> None:
        """The rows' losses of a micro-batch, evaluated; only in the stage that holds the head."""
        ...

    def gradients(self, micro_batch: int, chunk: int, gradients: Tree) -> None:
        """The gradients of a micro-batch for the parameters of a chunk: to be evaluated before this returns, for only
        then are the activations let go."""
        ...


Prepare: TypeAlias = Callable[[int], float]
"""Called with a micro-batch before each of its forward passes; returns what a row's loss counts in its gradients."""


def once(_: int) -> float:
    """Nothing is to be prepared, and every loss counts once."""
    return 1.0


class Stage:
    """The pieces of one device. Reusable for any number of steps and schedules."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """pieces[chunk]; there is one for every schedule but the interleaved one."""
        self.pieces = tuple(pieces)

    @property
    def owned(self) -> frozenset[str]:
        """Every parameter that the device computes with."""
        return frozenset().union(*(piece.owned for piece in self.pieces))

    def run(
        self,
        actions: Iterable[Action],
        micros: Sequence[Micro],
        parameters: Mapping[str, mx.array],
        link: Link,
        sink: Sink,
        prepare: Prepare = once,
    ) -> None:
        """Execute `actions` on `micros`: every stage is given all of them, for tokens cost next to nothing.

        `parameters` are the trained ones of the pieces, by name, evaluated. What the link raises comes out, and then
        nothing is left over.
        """
        step = StageStep(self.pieces, micros, parameters, link, sink, prepare)
        for action in actions:
            step.do(action)


class StageStep:
    """What lies on the device in the course of one step, by (micro-batch, chunk)."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        micros: Sequence[Micro],
        parameters: Mapping[str, mx.array],
        link: Link,
        sink: Sink,
        prepare: Prepare = once,
    ) -> None:
        self._pieces, self._parameters, self._link, self._sink = pieces, parameters, link, sink
        self._prepare = prepare
        self._micros = [(mx.array(micro.tokens_BT), mx.array(micro.mask_BT)) for micro in micros]
        self._passes: dict[tuple[int, int], Pass] = {}
        self._inbox: Bytes | None = None
        self._outbox: Bytes | None = None

    def do(self, action: Action) -> None:
        """One action; each leaves in the outbox what the Send after it hands on."""
        match action:
            case Receive():
                self._inbox = self._checked(action, self._link.receive(action))
            case Send():
                assert self._outbox is not None, "a Send follows what makes its message"
                self._link.send(action, self._outbox)
                self._outbox = None
            case Forward():
                self._forward(action)
            case Backward():
                self._backward(action)
            case BackwardInput():
                self._backward_input(action)
            case BackwardWeight():
                self._backward_weight(action)

    def _forward(self, action: Forward) -> None:
        piece = self._pieces[action.chunk]
        tokens_BT, mask_BT = self._micros[action.micro_batch]
        given = None if piece.is_first else piece.received(self._taken(), tokens_BT)
        weight = self._prepare(action.micro_batch)
        made = piece.forward(self._parameters, tokens_BT, mask_BT, given, weight)
        mx.eval(made.output)
        self._passes[action.micro_batch, action.chunk] = made
        if piece.is_last:
            self._sink.losses(action.micro_batch, made.output)
        else:
            self._outbox = bytes_of(made.output)

    def _backward(self, action: Backward) -> None:
        """Both halves, evaluated at once: so no cotangent inside the piece is kept for the second half."""
        made = self._turned(action)
        del self._passes[action.micro_batch, action.chunk]
        into_input, weights = made.into_input, made.weights
        mx.eval([] if into_input is None else into_input, weights)
        self._outbox = None if into_input is None else bytes_of(into_input)
        self._sink.gradients(action.micro_batch, action.chunk, weights)

    def _backward_input(self, action: BackwardInput) -> None:
        """Evaluate what the stage before waits for. Nobody is before the first piece: its other half does all."""
        into_input = self._turned(action).into_input
        if into_input is not None:
            mx.eval(into_input)
            self._outbox = bytes_of(into_input)

    def _backward_weight(self, action: BackwardWeight) -> None:
        made = self._passes.pop((action.micro_batch, action.chunk))
        self._sink.gradients(action.micro_batch, action.chunk, made.weights)

    def _turned(self, action: Compute) -> Pass:
        """The pass of a micro-batch, with the gradient of its output in it."""
        made = self._passes[action.micro_batch, action.chunk]
        if not self._pieces[action.chunk].is_last:
            made.give(self._taken())
        return made

    def _taken(self) -> Bytes:
        assert self._inbox is not None, "a Receive stands before what reads its message"
        data, self._inbox = self._inbox, None
        return data

    def _checked(self, receive: Receive, data: Bytes) -> Bytes:
        """Two stages with different batches or models would otherwise go on with nonsense."""
        tokens_BT, _ = self._micros[receive.micro_batch]
        expected = self._pieces[receive.chunk].boundary_bytes(tokens_BT)
        if data.size != expected:
            where = f"micro-batch {receive.micro_batch}, boundary {receive.boundary}"
            raise ProtocolError(f"{data.size} bytes came for {where} where {expected} belong: the stages differ")
        return data


class Totals:
    """The plain sink: sums in float32, in the order in which they come."""

    def __init__(self) -> None:
        self.by_name: Tree = {}
        self.losses_by_micro: dict[int, mx.array] = {}

    def losses(self, micro_batch: int, losses_B: mx.array) -> None:
        """See Sink."""
        self.losses_by_micro[micro_batch] = losses_B

    def gradients(self, micro_batch: int, chunk: int, gradients: Tree) -> None:
        """See Sink."""
        for name, value in gradients.items():
            wide = value.astype(mx.float32)
            self.by_name[name] = self.by_name[name] + wide if name in self.by_name else wide
        mx.eval([self.by_name[name] for name in gradients])
