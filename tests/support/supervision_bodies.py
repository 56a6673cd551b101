"""Actors with simple characters, and a diary of what a supervisor tells about them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from runtime.actors import Context
from runtime.supervision import (
    Backoff,
    ChildSpec,
    Supervisor,
    SupervisorSpec,
)

Body = Callable[[Context[Any]], Awaitable[None]]


async def good(ctx: Context[Any]) -> None:
    """Stops when it is asked to."""
    ctx.ready()
    await ctx.stopping.wait()


async def stubborn(ctx: Context[Any]) -> None:
    """Hears no request, but can be cancelled."""
    ctx.ready()
    await trio.sleep_forever()


def ready_after(seconds: float) -> Body:
    """A body that takes its time to start, and stops when it is asked to."""

    async def body(ctx: Context[Any]) -> None:
        await trio.sleep(seconds)
        await good(ctx)

    return body


def fails(*lives_seconds: float, error: type[BaseException] = ValueError) -> Body:
    """A body that is ready at once and fails after each of these times; after the last one it behaves."""
    times = iter(lives_seconds)

    async def body(ctx: Context[Any]) -> None:
        ctx.ready()
        seconds = next(times, None)
        if seconds is None:
            await ctx.stopping.wait()
        else:
            await trio.sleep(seconds)
            raise error(f"after {seconds:g} s")

    return body


def cannot_start(seconds: float = 0.0) -> Body:
    async def body(ctx: Context[Any]) -> None:
        await trio.sleep(seconds)
        raise RuntimeError("no such device")

    return body


class Diary:
    """Collects events, and finds them again."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.news = trio.Event()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self.news.set()
        self.news = trio.Event()

    def all(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def names(self, kind: type[Any]) -> list[str]:
        return [event.path.rsplit("/", 1)[-1] for event in self.all(kind)]

    async def wait_for(self, kind: type[Any], name: str, count: int = 1) -> None:
        while self.names(kind).count(name) < count:
            await self.news.wait()


def supervisor(bodies: Mapping[str, Body], *, child: dict[str, Any] | None = None, **policy: Any) -> Supervisor:
    policy.setdefault("backoff", Backoff(first=1.0, jitter=0.0))
    children = tuple(ChildSpec(name, body, **(child or {})) for name, body in bodies.items())
    return Supervisor(SupervisorSpec(children, **policy), random=lambda: 0.0)
