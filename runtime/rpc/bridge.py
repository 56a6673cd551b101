"""The only place where gRPC's asyncio loop meets trio.

gRPC speaks asyncio; everything else here is trio. One thread runs one asyncio loop for the whole process (two loops
make gRPC's poller spin, grpc#25364). Two ways lead across:

    Bridge.run / Bridge.spawn    a coroutine on the loop, awaited or owned by a trio task
    TrioDoorbell, LoopDoorbell   the two ends of a Pipe: at most one wake-up per waiting side, none when nobody waits

Rules that keep both worlds sane:
  asyncio.CancelledError is a BaseException and means nothing to trio: it becomes CallAborted at the border.
  A cancelled trio task cancels its asyncio task and *waits* for it (abort FAILED): nothing runs on unowned.
  Callbacks that arrive after trio has ended are dropped; callbacks never raise.
  The order of closing is channels, servers, handler tasks, loop; who opens a network nests them that way.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")


class CallAborted(Exception):
    """The asyncio side was cancelled underneath a trio task: its channel, server or loop was closed."""


class Bridge:
    """One asyncio loop on its own thread, as a resource of a trio task. Made by `Bridge.open()`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._token = trio.lowlevel.current_trio_token()
        self._closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Bridge]:
        """A running bridge; at exit every asyncio task is cancelled and the thread is joined."""
        bridge = cls()
        # daemon: should trio itself crash, the interpreter must still be able to exit; otherwise it is joined below.
        thread = threading.Thread(target=bridge._main, name="grpc-asyncio", daemon=True)
        thread.start()
        try:
            yield bridge
        finally:
            bridge._closed = True
            bridge.post(bridge.loop.stop)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            while tasks := asyncio.all_tasks(self.loop):
                for task in tasks:
                    task.cancel()
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    # ---- from trio to the loop

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Calls `function(*args)` on the loop, soon; dropped when the loop has ended."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(function, *args)

    async def run(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Awaits `function(*args)` on the loop. A trio cancel cancels it there and waits until it has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise CallAborted
        waiting = trio.lowlevel.current_task()
        raise_cancel: Callable[[], Any] | None = None
        running: list[asyncio.Task[T]] = []

        def finished(task: asyncio.Task[T]) -> None:
            self.wake(trio.lowlevel.reschedule, waiting, _outcome_of(task))

        def start() -> None:
            running.append(self.loop.create_task(function(*args)))
            running[0].add_done_callback(finished)

        def cancel() -> None:
            running[0].cancel()

        def abort(raiser: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal raise_cancel
            raise_cancel = raiser
            self.post(cancel)
            return trio.lowlevel.Abort.FAILED

        self.post(start)
        try:
            result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        except CallAborted:
            if raise_cancel is not None:
                raise_cancel()
            raise
        return result

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> Running:
        """Starts `function(*args)` on the loop; whoever holds the result must cancel it and wait for its end."""
        return Running(self, function, *args)

    # ---- from the loop to trio

    def wake(self, function: Callable[..., object], *args: object) -> None:
        """Calls `function(*args)` in the trio thread, soon; dropped when trio has ended. `function` must not raise."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)


def _outcome_of(task: asyncio.Task[T]) -> outcome.Maybe[T]:
    if task.cancelled():
        return outcome.Error(CallAborted("the connection was closed underneath this call"))
    if (error := task.exception()) is not None:
        return outcome.Error(error)
    return outcome.Value(task.result())


class Running:
    """A coroutine on the loop that a trio task owns. It must report its failures itself; they end here."""

    def __init__(self, bridge: Bridge, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self._bridge = bridge
        self._ended = trio.Event()
        self._task: asyncio.Task[None] | None = None
        bridge.post(self._start, function, *args)

    def _start(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self._task = self._bridge.loop.create_task(function(*args))
        self._task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # seen: asyncio must not print it
        self._bridge.wake(self._ended.set)

    def cancel(self) -> None:
        """Cancels it, soon; harmless when it has ended."""
        self._bridge.post(lambda: self._task.cancel() if self._task is not None else None)

    async def aclose(self) -> None:
        """Cancels it unless it has ended, and waits for its end; a trio cancel does not cut that short."""
        if not self._ended.is_set():
            self.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()


class TrioDoorbell:
    """Waited on by trio tasks, rung by the loop's thread."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._lot = trio.lowlevel.ParkingLot()
        self._armed = False

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See Doorbell."""
        while not condition():
            self._armed = True
            if condition():
                break
            await self._lot.park()

    def ring(self) -> None:
        """See Doorbell."""
        if self._armed:
            self._armed = False
            self._bridge.wake(self._lot.unpark_all)


class LoopDoorbell:
    """Waited on by one coroutine of the loop, rung by trio's thread."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._waiter: asyncio.Future[None] | None = None

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """See Doorbell."""
        while not condition():
            self._waiter = waiter = self._bridge.loop.create_future()
            if condition():
                break
            await waiter

    def ring(self) -> None:
        """See Doorbell."""
        if (waiter := self._waiter) is not None:
            self._waiter = None
            self._bridge.post(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
