"""Bounded typed mailboxes: what happens when one is full is part of its type, never an accident.

Mailbox        `put` waits, `try_put` raises MailboxFull; for orders and questions, where nothing may be lost.
LossyMailbox   drops the oldest and counts; for subscribers, who must never slow down what they watch.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

from runtime.errors import ActorDown, MailboxFull

M = TypeVar("M")
DEFAULT_CAPACITY = 64


class Mailbox(Generic[M]):
    """Queue of at most `capacity` messages between senders and one actor; iterate over it to receive.

    Sealed (the actor was asked to stop): senders get ActorDown, the receiver still drains, then iteration ends.
    Closed (the actor ended): what was not received is dropped, waiting senders get ActorDown.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least 1 message, not {capacity}")
        self.capacity = capacity
        self._send, self._receive = trio.open_memory_channel[M](capacity)

    def __len__(self) -> int:
        return self._receive.statistics().current_buffer_used

    async def put(self, message: M) -> None:
        """Wait for room and enqueue; raises ActorDown once the mailbox is sealed or closed."""
        try:
            await self._send.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ActorDown("the actor takes no more messages") from None

    def try_put(self, message: M) -> None:
        """Enqueue at once; raises MailboxFull when there is no room and ActorDown once sealed or closed."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            raise MailboxFull(f"the mailbox already holds {self.capacity} messages") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ActorDown("the actor takes no more messages") from None

    async def receive(self) -> M:
        """The next message; raises trio.EndOfChannel when the mailbox is sealed and empty."""
        return await self._receive.receive()

    def receive_nowait(self) -> M:
        """The next message if there is one; raises trio.WouldBlock, or trio.EndOfChannel when sealed and empty."""
        return self._receive.receive_nowait()

    def __aiter__(self) -> Mailbox[M]:
        return self

    async def __anext__(self) -> M:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def seal(self) -> None:
        """Refuse new messages; what is inside can still be received."""
        self._send.close()

    def close(self) -> None:
        """Refuse new messages and drop what is inside."""
        self._send.close()
        self._receive.close()


class LossyMailbox(Generic[M]):
    """Ring of the newest `capacity` messages for one reader; `dropped` counts what it never saw."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least 1 message, not {capacity}")
        self.capacity = capacity
        self.dropped = 0
        self._messages: deque[M] = deque()
        self._closed = False
        self._news = trio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: M) -> None:
        """Enqueue, never waiting: when full the oldest message goes. Ignored once closed."""
        if self._closed:
            return
        if len(self._messages) == self.capacity:
            self._messages.popleft()
            self.dropped += 1
        self._messages.append(message)
        self._news.set()

    def close(self) -> None:
        """No more messages: the reader drains what is left and its iteration ends."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> LossyMailbox[M]:
        return self

    async def __anext__(self) -> M:
        await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        return self._messages.popleft()
