"""An actor is a plain async function of a Context. It calls `ready` once, and returns soon after `stopping` is set.

    async def writer(ctx: Context[WriteCheckpoint]) -> None:
        folder = await prepare()
        ctx.ready()
        async for order in ctx.inbox:       # ends by itself when the actor is asked to stop and all is received
            ctx.emit(await write(folder, order))

Whatever it raises goes to its supervisor, which decides by the child spec; the function itself never retries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeAlias, TypeVar

import trio

from runtime.actors.mailbox import Mailbox
from runtime.ids import ActorPath, Incarnation

M = TypeVar("M")


def _ignore(_: object) -> None:
    """Nobody listens."""


class Context(Generic[M]):
    """What an actor sees of the world: who it is, its inbox, and the wish that it stop."""

    def __init__(
        self,
        path: str,
        incarnation: int = 1,
        *,
        inbox: Mailbox[M] | None = None,
        emit: Callable[[Any], None] = _ignore,
        on_ready: Callable[[Any], None] = _ignore,
        on_progress: Callable[[int], None] = _ignore,
    ) -> None:
        self.path = ActorPath(path)
        self.incarnation = Incarnation(incarnation)
        self.inbox: Mailbox[M] = Mailbox() if inbox is None else inbox
        self.stopping = trio.Event()
        """Set when the actor should finish what it holds and return."""
        self.last_words = ""
        """What explains the end of this actor beyond its exception; a process leaves the end of its output here."""
        self.is_ready = False
        self._emit, self._on_ready, self._on_progress = emit, on_ready, on_progress

    def ready(self, value: object = None) -> None:
        """Say that the actor works now; `value` goes into the Ready event. Only the first call counts."""
        if not self.is_ready:
            self.is_ready = True
            self._on_ready(value)

    def progress(self, n: int) -> None:
        """Say how far the actor has come (a step, a count): alive is not the same as getting on."""
        self._on_progress(n)

    def emit(self, event: object) -> None:
        """Publish a fact; returns at once."""
        self._emit(event)

    def ask_stop(self) -> None:
        """Set `stopping` and seal the inbox. Called by the supervisor, and by tests in its place."""
        self.stopping.set()
        self.inbox.seal()


ActorFn: TypeAlias = Callable[[Context[Any]], Awaitable[None]]
"""The body of an actor. A callable object may also say what it needs: `stop_budget_seconds`, `start_budget_seconds`."""
