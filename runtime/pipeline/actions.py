"""What a stage of a pipeline does, as data: a schedule is a list of actions per stage, and an executor interprets it.

The model's layers are cut into `stages x chunks` consecutive pieces, called positions. Device `stage` holds the
positions `stage`, `stage + stages`, `stage + 2 x stages`, ...: its chunks 0, 1, 2, ... With one chunk a position is a
stage.

    position   0   1   2   3   4   5   6   7          4 stages, 2 chunks
    stage      0   1   2   3   0   1   2   3
    chunk      0   0   0   0   1   1   1   1
    boundary     0   1   2   3   4   5   6            boundary k lies between the positions k and k + 1

An activation crosses boundary k upwards, from position k to k + 1; its gradient crosses it downwards. A message is
known by (payload, micro-batch, boundary) at both of its ends. Messages of one payload between one ordered pair of
stages form a channel: first in, first out, at most `Schedule.capacity` of them sent and not yet received.

What the executor promises: actions run one after the other in the order of the list; a Send copies and returns while
the channel has room, otherwise it waits for room; a Receive waits for its message. Receiving may begin long before the
Receive is reached: the channel is the buffer. Weight gradients are added to the sum in the order of the list, which is
ascending in the micro-batch for every chunk, so that the sum has one order in all schedules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

ScheduleName: TypeAlias = Literal["gpipe", "1f1b", "interleaved", "zb-h1"]
SCHEDULE_NAMES: tuple[ScheduleName, ...] = ("gpipe", "1f1b", "interleaved", "zb-h1")


class Payload(Enum):
    """What a message carries."""

    ACTIVATION = "activation"
    GRADIENT = "gradient"


@dataclass(frozen=True, slots=True)
class Forward:
    """Run the layers of `chunk` on a micro-batch and keep what its backward pass needs."""

    micro_batch: int
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class Backward:
    """The whole backward pass: the gradient of the chunk's input, and the weights' gradients added to their sum.

    Lets go of what Forward kept.
    """

    micro_batch: int
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class BackwardInput:
    """Only the gradient of the chunk's input, which the stage before waits for. What Forward kept is still needed.

    At position 0 the input is the embedded tokens: nobody waits for their gradient, and W takes it from there."""

    micro_batch: int
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class BackwardWeight:
    """The other half: the weights' gradients, added to their sum. Lets go of what Forward kept."""

    micro_batch: int
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Hand what the action before has made to `peer`: the activation after Forward, the gradient after Backward."""

    payload: Payload
    micro_batch: int
    chunk: int
    """The sender's own chunk that made it."""
    boundary: int
    peer: int
    """The receiving stage."""


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for what the next action reads."""

    payload: Payload
    micro_batch: int
    chunk: int
    """The receiver's own chunk that reads it."""
    boundary: int
    peer: int
    """The sending stage."""


Compute: TypeAlias = Forward | Backward | BackwardInput | BackwardWeight
Transfer: TypeAlias = Send | Receive
Action: TypeAlias = Compute | Transfer


@dataclass(frozen=True)
class Schedule:
    """Everything that every stage does in one step. Made by `schedules.build`; proven by `validator.faults`."""

    name: ScheduleName
    stages: int
    micro_batches: int
    chunks: int
    """Pieces of the model per stage; 1 unless the schedule is interleaved."""
    actions: tuple[tuple[Action, ...], ...]
    """By stage, in order."""
    capacity: int = 2
    """Messages that a channel holds at most, sent and not yet received."""

    @property
    def positions(self) -> int:
        """Pieces that the model is cut into."""
        return self.stages * self.chunks

    def position(self, stage: int, chunk: int) -> int:
        """Which piece of the model is chunk `chunk` of `stage`."""
        return chunk * self.stages + stage

    def compute(self, stage: int) -> tuple[Compute, ...]:
        """The actions of `stage` without its transfers."""
        return tuple(action for action in self.actions[stage] if not isinstance(action, Send | Receive))


def in_flight(actions: tuple[Action, ...]) -> Iterator[int]:
    """After each action of one stage: how many forwards are kept because their backward pass is not complete yet."""
    kept = 0
    for action in actions:
        if isinstance(action, Forward):
            kept += 1
        elif isinstance(action, Backward | BackwardWeight):
            kept -= 1
        yield kept


def peak_in_flight(actions: tuple[Action, ...]) -> int:
    """The most forwards of one stage that are kept at once: its memory for activations, in micro-batches per chunk."""
    return max(in_flight(actions), default=0)
