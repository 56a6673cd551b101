"""Sends and receives, derived in one place from the order in which stages compute.

A Receive stands right before the action that reads its message, a Send right after the one that makes it:

    Receive(activation) Forward Send(activation)      Receive(gradient) Backward | BackwardInput Send(gradient)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.pipeline.actions import Action, Backward, BackwardInput, Compute, Forward, Payload, Receive, Send


def with_transfers(orders: Sequence[Sequence[Compute]], chunks: int) -> tuple[tuple[Action, ...], ...]:
    """Each stage's order of computing, with every message in it that crosses between two stages."""
    stages = len(orders)
    return tuple(tuple(_stage(order, stage, stages, chunks)) for stage, order in enumerate(orders))


def reads(action: Compute, stage: int, stages: int, chunks: int) -> Receive | None:
    """The message that `action` of `stage` waits for: none at the ends of the model, nor for the weights' gradients."""
    position, last = action.chunk * stages + stage, stages * chunks - 1
    match action:
        case Forward() if position > 0:
            peer = (stage - 1) % stages
            return Receive(Payload.ACTIVATION, action.micro_batch, action.chunk, position - 1, peer)
        case Backward() | BackwardInput() if position < last:
            peer = (stage + 1) % stages
            return Receive(Payload.GRADIENT, action.micro_batch, action.chunk, position, peer)
        case _:
            return None


def makes(action: Compute, stage: int, stages: int, chunks: int) -> Send | None:
    """The message that `action` of `stage` makes, in the same way."""
    position, last = action.chunk * stages + stage, stages * chunks - 1
    match action:
        case Forward() if position < last:
            peer = (stage + 1) % stages
            return Send(Payload.ACTIVATION, action.micro_batch, action.chunk, position, peer)
        case Backward() | BackwardInput() if position > 0:
            peer = (stage - 1) % stages
            return Send(Payload.GRADIENT, action.micro_batch, action.chunk, position - 1, peer)
        case _:
            return None


def _stage(order: Sequence[Compute], stage: int, stages: int, chunks: int) -> Iterator[Action]:
    for action in order:
        if receive := reads(action, stage, stages, chunks):
            yield receive
        yield action
        if send := makes(action, stage, stages, chunks):
            yield send
