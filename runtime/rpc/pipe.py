"""A bounded pipe for one direction of a call; the two ends may live on different event loops.

A Pipe knows neither loop. It is handed two doorbells: `news` is rung by the producer and waited on by the consumer,
`room` the other way round. Between trio and asyncio one of them belongs to the loop (bridge.py); in the in-memory twin
both are local. So both networks have the same bounds, the same order and the same way to end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

MAX_MESSAGES = 16
MAX_BYTES = 1 << 20


class Doorbell(Protocol):
    """Wakes one side of a pipe."""

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns once `condition()` holds; looks again whenever the bell rings."""

    def ring(self) -> None:
        """Makes the waiting side look again; free of cost when nobody waits. Called by the other side."""


class LocalDoorbell:
    """Waited on by trio tasks; rung in the trio thread, by whichever loop has its turn.

    A trio.lowlevel.ParkingLot would do; it costs twice as much, and this is on the path of every message.
    """

    def __init__(self) -> None:
        self._waiting: dict[trio.lowlevel.Task, None] = {}  # a set that keeps its order, so that tests replay

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See Doorbell."""
        while not condition():
            task = trio.lowlevel.current_task()
            self._waiting[task] = None

            def abort(_raise_cancel: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                del self._waiting[task]
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)

    def ring(self) -> None:
        """See Doorbell."""
        for task in self._waiting:
            trio.lowlevel.reschedule(task)
        self._waiting.clear()


class Pipe:
    """Messages of one direction, in order, at most `max_messages` and about `max_bytes` of them in flight.

    A message larger than `max_bytes` passes alone. When the pipe is full the producer waits; nothing is dropped.
    """

    def __init__(
        self, *, room: Doorbell, news: Doorbell, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._room, self._news = room, news
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._items: deque[bytes] = deque()
        self._queued_bytes = 0
        self._closed = False
        self._end: Exception | None = None
        self._refusal: Exception | None = None

    # ---- the producer's side

    async def put(self, raw: bytes) -> None:
        """Queues one message, waiting while the pipe is full. Raises what the consumer refused with."""
        await self._room.wait_until(self._may_put)
        if self._refusal is not None:
            raise self._refusal
        if self._closed:
            raise RuntimeError("a message after the end of its stream: done_sending() was called before")
        self._queued_bytes += len(raw)
        self._items.append(raw)
        self._news.ring()

    def close(self, error: Exception | None = None) -> None:
        """No more messages: the consumer drains what is queued and then sees the end, or `error`. Only the first
        call counts."""
        if not self._closed:
            self._end = error
            self._closed = True
            self._news.ring()

    # ---- the consumer's side

    async def get(self) -> bytes | None:
        """The next message; None at the end, every time. Raises what the producer closed with."""
        await self._news.wait_until(self.is_ready)
        if self._items:
            raw = self._items.popleft()
            self._queued_bytes -= len(raw)
            self._room.ring()
            return raw
        if self._end is not None:
            raise self._end
        return None

    def refuse(self, error: Exception) -> None:
        """Nobody reads any more: waiting and later producers get `error`. Only the first call counts."""
        if self._refusal is None:
            self._refusal = error
            self._room.ring()

    def is_ready(self) -> bool:
        """Whether get() would return at once."""
        return bool(self._items) or self._closed

    def _may_put(self) -> bool:
        has_room = len(self._items) < self._max_messages and self._queued_bytes < self._max_bytes
        return has_room or self._closed or self._refusal is not None
