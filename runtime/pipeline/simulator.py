"""How long a step takes: the actions of a schedule played against measured times, event by event. Pure.

A stage computes one action at a time. A message takes the link for bytes / bytes_per_s and arrives latency_s later;
two messages of one stage to the same peer follow each other. A Send waits while its channel is full, a Receive until
its message is there. So the order of events is decided by the lists alone, and one pass over them finds either every
time or the actions at which all stages wait for each other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from runtime.pipeline.actions import (
    Backward,
    BackwardInput,
    BackwardWeight,
    Compute,
    Forward,
    Payload,
    Receive,
    Schedule,
    Send,
    peak_in_flight,
)


@dataclass(frozen=True)
class PieceTimes:
    """Seconds that one micro-batch takes in one position of the pipeline."""

    forward_s: float
    backward_input_s: float
    backward_weight_s: float
    whole_backward_s: float | None = None
    """Both halves at once; None: their sum."""

    @property
    def backward_s(self) -> float:
        """Seconds of a whole backward pass."""
        halves = self.backward_input_s + self.backward_weight_s
        return halves if self.whole_backward_s is None else self.whole_backward_s

    def of(self, action: Compute) -> float:
        """Seconds of one action."""
        match action:
            case Forward():
                return self.forward_s
            case Backward():
                return self.backward_s
            case BackwardInput():
                return self.backward_input_s
            case BackwardWeight():
                return self.backward_weight_s


@dataclass(frozen=True)
class Link:
    """What lies between two neighbouring stages, the same in both directions. The default costs nothing."""

    latency_s: float = 0.0
    bytes_per_s: float = math.inf


@dataclass(frozen=True)
class Workload:
    """What the simulator must know about a model on its devices."""

    pieces: tuple[PieceTimes, ...]
    """By position."""
    message_bytes: int = 0
    """One activation of a micro-batch; its gradient has the same size."""
    links: tuple[Link, ...] = ()
    """links[i] lies between stage i and the next one (the last is followed by the first); () costs nothing."""


@dataclass(frozen=True)
class Span:
    """One action of one stage and when it ran, in seconds from the start of the step."""

    action: Compute
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Simulation:
    """A step that was played to its end."""

    spans: tuple[tuple[Span, ...], ...]
    """By stage, in order; sending and waiting are what lies between them."""
    peaks: tuple[int, ...]
    """By stage: the most activations kept at once, in micro-batches of one chunk."""

    @cached_property
    def step_s(self) -> float:
        """Seconds from the first action's start to the last one's end."""
        return max((stage[-1].end_s for stage in self.spans if stage), default=0.0)

    @cached_property
    def busy_s(self) -> tuple[float, ...]:
        """By stage: seconds of computing."""
        return tuple(math.fsum(span.end_s - span.start_s for span in stage) for stage in self.spans)

    @property
    def bubble(self) -> float:
        """The share of all devices' time in which they compute nothing: 0 .. 1."""
        whole = self.step_s * len(self.spans)
        return 1 - math.fsum(self.busy_s) / whole if whole else 0.0


class Stuck(Exception):  # a schedule's own fault, found before anything runs; the validator says it in words
    """The stages wait for each other, or a message is not the one that is waited for."""


def simulate(schedule: Schedule, work: Workload) -> Simulation:
    """Play one step. Raises Stuck when it cannot end, ValueError when `work` is of another shape."""
    if len(work.pieces) != schedule.positions or len(work.links) not in {0, schedule.stages}:
        sizes = f"{len(work.pieces)} positions and {len(work.links)} links"
        raise ValueError(f"{sizes} for a schedule with {schedule.positions} positions and {schedule.stages} stages")
    play = _Play(schedule, work)
    while sum(play.advance(stage) for stage in range(schedule.stages)):
        pass
    if waiting := play.waiting():
        raise Stuck(f"every stage waits: {'; '.join(waiting)}")
    peaks = tuple(peak_in_flight(actions) for actions in schedule.actions)
    return Simulation(tuple(tuple(spans) for spans in play.spans), peaks)


@dataclass
class _Channel:
    """Messages of one payload from one stage to another."""

    sent: list[tuple[Send, float]] = field(default_factory=list)
    """With the time of arrival."""
    received_s: list[float] = field(default_factory=list)


class _Play:
    """The state of a step that is being played."""

    def __init__(self, schedule: Schedule, work: Workload) -> None:
        self.schedule, self.work = schedule, work
        self.spans: list[list[Span]] = [[] for _ in range(schedule.stages)]
        self._now = [0.0] * schedule.stages
        self._next = [0] * schedule.stages
        self._channels: defaultdict[tuple[Payload, int, int], _Channel] = defaultdict(_Channel)
        self._free_s: defaultdict[tuple[int, int], float] = defaultdict(float)

    def advance(self, stage: int) -> bool:
        """Run `stage` as far as it goes; whether it went anywhere."""
        before, actions = self._next[stage], self.schedule.actions[stage]
        while self._next[stage] < len(actions) and self._step(stage):
            self._next[stage] += 1
        return self._next[stage] > before

    def waiting(self) -> list[str]:
        """What each stage that has not ended waits for."""
        ends: Sequence[int] = [len(actions) for actions in self.schedule.actions]
        return [
            f"stage {stage} at {self.schedule.actions[stage][index]}"
            for stage, (index, end) in enumerate(zip(self._next, ends, strict=True))
            if index < end
        ]

    def _step(self, stage: int) -> bool:
        match self.schedule.actions[stage][self._next[stage]]:
            case Send() as send:
                return self._send(stage, send)
            case Receive() as receive:
                return self._receive(stage, receive)
            case action:
                start = self._now[stage]
                piece = self.work.pieces[self.schedule.position(stage, action.chunk)]
                self._now[stage] = start + piece.of(action)
                self.spans[stage].append(Span(action, start, self._now[stage]))
                return True

    def _send(self, stage: int, send: Send) -> bool:
        channel = self._channels[send.payload, stage, send.peer]
        slot_before = len(channel.sent) - self.schedule.capacity
        if slot_before >= len(channel.received_s):
            return False
        if slot_before >= 0:
            self._now[stage] = max(self._now[stage], channel.received_s[slot_before])
        upwards = send.payload is Payload.ACTIVATION
        link = self.work.links[stage if upwards else send.peer] if self.work.links else Link()
        pair = (stage, send.peer)
        self._free_s[pair] = max(self._now[stage], self._free_s[pair]) + self.work.message_bytes / link.bytes_per_s
        channel.sent.append((send, self._free_s[pair] + link.latency_s))
        return True

    def _receive(self, stage: int, receive: Receive) -> bool:
        channel = self._channels[receive.payload, receive.peer, stage]
        index = len(channel.received_s)
        if index >= len(channel.sent):
            return False
        send, arrival_s = channel.sent[index]
        if (send.micro_batch, send.boundary) != (receive.micro_batch, receive.boundary):
            raise Stuck(f"stage {stage} waits for {receive}, but the next message of that channel is {send}")
        self._now[stage] = max(self._now[stage], arrival_s)
        channel.received_s.append(self._now[stage])
        return True
