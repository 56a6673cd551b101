"""The only place where gRPC's asyncio loop meets trio.

gRPC speaks asyncio; everything else here is trio. The asyncio loop runs *inside* the trio thread, in turns: a turn runs
callbacks until the loop would block, then trio goes on. A selector that stops its loop instead of blocking makes that
out of public API; trio watches the selector's own descriptor and the next timer. So no message changes threads and
none waits for the GIL: with the loop on its own thread each message crossed twice in each process (90 microseconds
for two crossings, against 9 now; between two idle processes a round trip fell from 0.75 to 0.6 ms).
The price: trio code that blocks its thread holds gRPC's callbacks up too. (Keep-alive pings have their own threads.)

Rules that keep both worlds sane:
  A turn never runs code of a trio task, so turns do not nest; callbacks only reschedule trio tasks.
  A turn is bounded; what is left runs in the next one, after other trio tasks had theirs.
  asyncio.CancelledError is a BaseException and means nothing to trio: it becomes CallAborted at the border.
  A cancelled trio task cancels its asyncio task and *waits* for it (abort FAILED): nothing runs on unowned.
  The order of closing is channels, servers, handler tasks, loop; who opens a network nests them that way. The loop is
  shielded: an outer cancel reaches it last.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import outcome
import trio

from runtime.rpc.nursery import service_nursery

T = TypeVar("T")

POLLS_PER_TURN = 64
"""A flood of events keeps a turn going for at most this many looks at the sockets."""


class CallAborted(Exception):
    """The asyncio side was cancelled underneath a trio task: its channel, server or loop was closed."""


class _StopsWhenIdle(selectors.DefaultSelector):
    """Stops its loop where another selector would block, and tells how long it would have blocked."""

    loop: asyncio.AbstractEventLoop
    polls_left = 0
    idle_seconds = math.inf

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; nothing while callbacks wait, for they come first and cost no system call."""
        if timeout == 0:
            return []
        if self.polls_left > 0:
            self.polls_left -= 1
            if ready := super().select(0):
                return ready
        self.idle_seconds = math.inf if timeout is None else timeout
        self.loop.stop()
        return []


class Bridge:
    """One asyncio loop as a resource of a trio task. Made by `Bridge.open()`; used in that trio thread only."""

    def __init__(self) -> None:
        self._selector = _StopsWhenIdle()
        self.loop = self._selector.loop = asyncio.SelectorEventLoop(self._selector)
        self._sleeps_until = math.inf
        self._is_closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Bridge]:
        """A running bridge; at exit every asyncio task is cancelled and awaited."""
        bridge = cls()
        try:
            async with service_nursery() as nursery:
                hosting = trio.CancelScope(shield=True)
                nursery.start_soon(bridge._host, hosting)
                try:
                    yield bridge
                finally:
                    with trio.CancelScope(shield=True):
                        await bridge.run(_end_all_tasks)
                    bridge._is_closed = True
                    hosting.cancel()
        finally:
            bridge.loop.close()

    async def _host(self, hosting: trio.CancelScope) -> None:
        """Gives the loop a turn whenever one of its sockets or timers is due."""
        selector = self._selector
        with hosting:
            while True:
                self._turn(polls=POLLS_PER_TURN)
                self._sleeps_until = trio.current_time() + selector.idle_seconds
                if self._sleeps_until == math.inf:  # no timer: the usual case, and on the path of every message
                    await trio.lowlevel.wait_readable(selector.fileno())
                else:
                    with trio.move_on_at(self._sleeps_until):
                        await trio.lowlevel.wait_readable(selector.fileno())

    def turn(self) -> None:
        """Runs what is ready on the loop. Callable from trio tasks; within a turn it does nothing."""
        if not self.loop.is_running() and not self.loop.is_closed():
            self._turn(polls=0)
            if trio.current_time() + self._selector.idle_seconds < self._sleeps_until:
                self._turn_soon()  # a new timer, earlier than what the host sleeps for

    @trio.lowlevel.enable_ki_protection
    def _turn(self, *, polls: int) -> None:
        self._selector.polls_left = polls
        self.loop.run_forever()

    def _turn_soon(self) -> None:
        """Wakes the host through the loop's own socket."""
        self.loop.call_soon_threadsafe(_nothing)

    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Awaits `function(*args)` on the loop. A trio cancel cancels it there and waits until it has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_closed:
            raise CallAborted("the network was closed")
        waiting = trio.lowlevel.current_task()
        raise_cancel: Callable[[], Any] | None = None
        task = self.loop.create_task(function(*args))
        self.turn()

        def finished(_task: asyncio.Task[T]) -> None:
            trio.lowlevel.reschedule(waiting)

        def abort(raiser: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancel
            raise_cancel = raiser
            task.cancel()
            self._turn_soon()  # not now: trio is in the middle of a cancel
            return trio.lowlevel.Abort.FAILED

        if not task.done():
            task.add_done_callback(finished)
            await trio.lowlevel.wait_task_rescheduled(abort)
        if task.cancelled() and raise_cancel is not None:
            raise_cancel()
        return _outcome_of(task).unwrap()

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> Running:
        """Starts `function(*args)` on the loop; whoever holds the result must close it."""
        running = Running(self, self.loop.create_task(function(*args)))
        self.turn()
        return running


def _nothing() -> None:
    pass


async def _end_all_tasks() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _outcome_of(task: asyncio.Task[T]) -> outcome.Value[T] | outcome.Error:
    if task.cancelled():
        return outcome.Error(CallAborted("the connection was closed underneath this call"))
    if (error := task.exception()) is not None:
        return outcome.Error(error)
    return outcome.Value(task.result())


class Running:
    """A coroutine on the loop that a trio task owns. It must report its failures itself; they end here."""

    def __init__(self, bridge: Bridge, task: asyncio.Task[None]) -> None:
        self._bridge, self._task = bridge, task
        self._ended = trio.Event()
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: asyncio must not print it
        self._ended.set()

    async def aclose(self) -> None:
        """Cancels it unless it has ended, and waits for its end; a trio cancel does not cut that short."""
        self._task.cancel()
        self._bridge.turn()
        with trio.CancelScope(shield=True):
            await self._ended.wait()


class LoopDoorbell:
    """Waited on by one coroutine of the loop, rung by trio tasks. (The other way round LocalDoorbell will do.)"""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._waiter: asyncio.Future[None] | None = None

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See Doorbell."""
        while not condition():
            self._waiter = self._bridge.loop.create_future()
            await self._waiter

    def ring(self) -> None:
        """See Doorbell."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
            self._bridge.turn()
