"""Where facts meet those who want to know: the bus numbers them, stamps them, and hands them on.

publish(event, path) -> sinks, one after the other, before it returns    the journal, the fold: they lose nothing
                     -> subscriptions, each with a bounded buffer        monitor, tracker: a slow one loses the oldest

`publish` never waits and never fails because of a slow reader, so that an actor may state a fact anywhere. A reader
that lost something is told how much, by a Lagged in its stream; it can fetch the rest from the journal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

import trio

from runtime.events.journal import Journal
from runtime.events.run import RunFinished, Warned
from runtime.events.saving import CheckpointWritten
from runtime.events.types import Envelope, Event
from runtime.ids import ActorPath

Sink: TypeAlias = Callable[[Envelope], None]


@dataclass(frozen=True, slots=True)
class Lagged:
    """The reader was too slow: this many facts were dropped before the next one in its stream."""

    count: int


class EventBus:
    """Numbers facts from `first_seq` and delivers them. Belongs to one trio thread.

    A sink is called for every fact, in order, inside `publish`; it must be quick and must not raise. A sink may publish
    (the journal does, when the disk is full): its fact comes after the present one, for everybody.
    """

    def __init__(self, *, first_seq: int = 1, clock: Callable[[], float] = time.time) -> None:
        self._next_seq = first_seq
        self._clock = clock
        self._sinks: list[Sink] = []
        self._subscriptions: set[Subscription] = set()
        self._waiting: deque[Envelope] = deque()  # bounded: each sink publishes at most a fact about itself
        self._delivering = False

    def publish(self, event: Event, path: ActorPath) -> Envelope:
        """State a fact: every sink has it when this returns, unless a sink itself is publishing."""
        envelope = Envelope(self._next_seq, self._clock(), path, event)
        self._next_seq += 1
        self._waiting.append(envelope)
        if not self._delivering:
            self._deliver()
        return envelope

    def add_sink(self, sink: Sink) -> None:
        """From now on `sink` gets every fact. It stays for the bus's life."""
        self._sinks.append(sink)

    def subscribe(self, capacity: int = 1024) -> Subscription:
        """A stream of every fact from now on, that keeps the newest `capacity`; close it, or use it as a context."""
        subscription = Subscription(capacity, self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End every subscription after what it has buffered. Sinks may still get facts."""
        for subscription in list(self._subscriptions):
            subscription.finish()

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._waiting:
                envelope = self._waiting.popleft()
                for sink in self._sinks:
                    sink(envelope)
                for subscription in self._subscriptions:
                    subscription.offer(envelope)
        finally:
            self._delivering = False


class Subscription:
    """One reader's bounded stream: `async for item in subscription` gives Envelopes, and Lagged where some are gone."""

    def __init__(self, capacity: int, forget: Callable[[Subscription], None]) -> None:
        if capacity < 1:
            raise ValueError(f"a subscription needs room for one envelope at least, not {capacity}")
        self._buffer: deque[Envelope] = deque()
        self._capacity = capacity
        self._forget = forget
        self._dropped = 0
        self._finished = False
        self._news = trio.Event()

    def offer(self, envelope: Envelope) -> None:
        """For the bus: put one fact in, drop the oldest where there is no room."""
        if self._finished:
            return
        if len(self._buffer) == self._capacity:
            self._buffer.popleft()
            self._dropped += 1
        self._buffer.append(envelope)
        self._news.set()

    def finish(self) -> None:
        """For the bus: nothing more will come."""
        self._finished = True
        self._news.set()
        self._forget(self)

    def close(self) -> None:
        """Stop listening, and forget what is buffered."""
        self._buffer.clear()
        self._dropped = 0
        self.finish()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Envelope | Lagged:
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._finished:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        if self._dropped:
            lagged, self._dropped = Lagged(self._dropped), 0
            return lagged
        return self._buffer.popleft()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def journaled_bus(journal: Journal, clock: Callable[[], float] = time.time) -> EventBus:
    """A bus that goes on with the journal's numbers and writes every fact into it first; its troubles are facts too."""
    bus = EventBus(first_seq=journal.next_seq, clock=clock)
    bus.add_sink(journal.write)
    journal.on_trouble = lambda trouble: bus.publish(trouble, ActorPath("journal"))
    return bus


async def keep_synced(bus: EventBus, journal: Journal) -> None:
    """Sync the journal after each checkpoint and at the run's end, on a thread, until the bus closes.

    A disk that refuses is reported as a Warned; the journal goes on.
    """
    with bus.subscribe() as subscription:
        async for item in subscription:
            if not (isinstance(item, Envelope) and isinstance(item.event, CheckpointWritten | RunFinished)):
                continue
            try:
                await trio.to_thread.run_sync(journal.sync)
            except OSError as problem:
                text = f"{journal.path} cannot be synced: {problem.strerror}"
                bus.publish(Warned("journal", text, "look at that disk"), ActorPath("journal"))
