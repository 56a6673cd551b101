"""Process actors over tests.support.actor_child, and a listener that tests can wait on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from runtime.actors import Address, Beat, Fact, FrameHooks, Hello, Order, ProcessActor, ProcessSpec, Report, Source
from runtime.errors import GaveUp
from runtime.supervision import Backoff, ChildSpec, Restart, Supervisor, SupervisorSpec, supervise

ROOT = Path(__file__).parents[2]
GUARD_SECONDS = 120
"""Only a real hang exceeds it."""


class Listener(FrameHooks):
    """Keeps what a child and its supervisor say; `wait_for` returns when the n-th thing of a type is there."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.sources: list[Source] = []
        self._news = trio.Event()

    def __call__(self, event: Any) -> None:
        self.heard.append(event)
        self._news.set()
        self._news = trio.Event()

    def hello(self, source: Source, frame: Hello) -> None:
        self.sources.append(source)
        self(frame)

    def beat(self, source: Source, frame: Beat) -> None:
        self(frame)

    def fact(self, source: Source, frame: Fact) -> None:
        self(frame)

    def report(self, source: Source, frame: Report) -> None:
        self(frame)

    def all(self, kind: type[Any]) -> list[Any]:
        return [thing for thing in self.heard if isinstance(thing, kind)]

    async def wait_for(self, kind: type[Any], count: int = 1) -> Any:
        while len(self.all(kind)) < count:
            await self._news.wait()
        return self.all(kind)[count - 1]


def process_spec(mode: str, folder: Path, *args: str, **rest: Any) -> ProcessSpec:
    """A process that runs a mode of the test's child program; the ladder is short, for the deaf."""
    rest.setdefault("term_after_seconds", 60.0)
    argv = (sys.executable, "-P", "-m", "tests.support.actor_child", mode, *args)
    return ProcessSpec(argv, folder / "logs" / "child.log", {"PYTHONPATH": str(ROOT)}, **rest)


class Supervised:
    """A process actor under a supervisor of its own."""

    def __init__(self, spec: ProcessSpec, listener: Listener, **child: Any) -> None:
        intensity = child.pop("intensity", 0)
        child.setdefault("restart", Restart.TRANSIENT)
        self.listener = listener
        self.address: Address[Order] = Address("child")
        self.spec = ChildSpec("child", ProcessActor(spec, listener), address=self.address, **child)
        backoff = Backoff(first=0.0, cap=0.0)
        self.root = Supervisor(SupervisorSpec((self.spec,), intensity=intensity, backoff=backoff))

    @property
    def pid(self) -> int:
        return self.listener.sources[-1].pid

    async def run(self) -> None:
        """Until it ends; raises what the supervisor raises."""
        with trio.fail_after(GUARD_SECONDS):
            await supervise(self.root, path="run", emit=self.listener)

    async def until_it_gives_up(self, provoke: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint) -> GaveUp:
        """Run, call `provoke` once the child is up, and return what the supervisor gives up with."""

        async def provoke_when_up() -> None:
            await self.listener.wait_for(Hello)
            await provoke()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(provoke_when_up)
            try:
                await self.run()
            except GaveUp as gave_up:
                nursery.cancel_scope.cancel()
                return gave_up
        raise AssertionError("it ended without giving up")

    async def kill_after_its_first_beat(self) -> None:
        """SIGKILL to the child, not to its group."""
        await self.listener.wait_for(Beat)
        os.kill(self.pid, signal.SIGKILL)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run in the background, and stop in order at the end of the block."""
        with trio.fail_after(GUARD_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.run)
                await self.listener.wait_for(Hello)
                yield
                if self.root.view() is not None:
                    self.root.end()
