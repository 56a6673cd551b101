"""The one thread that owns MLX: streams, random state and compile cache are per thread, and lazy arrays cannot cross.

MLX releases the GIL while it evaluates, so trio goes on meanwhile. A running evaluation cannot be interrupted,
therefore `run` cannot be cancelled either: it returns when the device is done. Whoever needs more force kills the
process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")


class DeviceThread:
    """Runs functions one after another on its own thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlx", daemon=True)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call `function(*arguments)` on the thread; returns or raises what it did. Not cancellable, see above."""
        await trio.lowlevel.checkpoint_if_cancelled()
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()

        def job() -> None:
            result = outcome.capture(function, *arguments)
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        self._jobs.put(job)
        done: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return done

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _start(self) -> None:
        self._thread.start()

    async def _stop(self) -> None:
        self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)


@asynccontextmanager
async def open_device_thread() -> AsyncIterator[DeviceThread]:
    """A device thread that is joined when the context ends."""
    thread = DeviceThread()
    thread._start()
    try:
        yield thread
    finally:
        await thread._stop()
