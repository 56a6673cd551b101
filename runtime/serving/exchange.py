"""One request and its answer, between the event loop that carries them and the thread that computes.

mlx-lm's generation thread only ever calls `put` on what it is given: first what it makes of the prompt (or an
exception), then progress, tokens, and None at the end. A `Mailbox` hands that to the loop. It holds at most as many
items as the answer may have tokens; a client that has gone away makes the thread drop the request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.serving.asking import ChatRequest, CompletionRequest
from runtime.serving.refusal import Refused, unavailable


@dataclass(frozen=True)
class Progress:
    """The prompt is still being read."""

    done: int
    total: int


class Exchange(Protocol):
    """A request that was handed in. `close` may be called at any time, and is called once by whoever asked."""

    async def begin(self) -> Any:
        """What is known of the prompt (mlx-lm's GenerationContext). Raises Refused."""
        ...

    def items(self) -> AsyncIterator[Any]:
        """Progress and tokens (mlx-lm's Response), up to the last one. Raises Refused."""
        ...

    def close(self) -> None:
        """Nobody listens any more."""
        ...


class Answerer(Protocol):
    """What the routes need of an engine."""

    name: str
    """The name under which the model is served."""

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, and the thread that computes lives."""
        ...

    def ask(self, asked: ChatRequest | CompletionRequest) -> Exchange:
        """Hand a request in. Raises Refused for what does not fit this model."""
        ...

    def decode(self, token: int) -> str:
        """One token as text."""
        ...

    def tool_calls(self, context: Any, text: str, tools: Any) -> list[dict[str, Any]]:
        """What the model wrote between the markers of a call, as OpenAI's objects; empty where it is none."""
        ...


class Mailbox:
    """An Exchange with mlx-lm's generation thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._context: Any = None
        self.closed = False
        """Whether nobody listens any more."""

    # ---- the generation thread's side

    def put(self, item: Any) -> None:
        """Take what the generation thread says. Never blocks; after the loop's end it is dropped."""
        if self.closed and hasattr(item, "stop"):
            item.stop()  # the client left before its turn came
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    # ---- the event loop's side

    async def begin(self) -> Any:
        """See Exchange."""
        item = await self._queue.get()
        if isinstance(item, BaseException):
            raise refused(item)
        self._context = item
        return item

    async def items(self) -> AsyncIterator[Any]:
        """See Exchange."""
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise refused(item)
            yield Progress(*item) if isinstance(item, tuple) else item

    def close(self) -> None:
        """See Exchange."""
        self.closed = True
        if self._context is not None:
            self._context.stop()


def refused(error: BaseException) -> Refused:
    """An exception of the generation thread as it is told to a client."""
    if isinstance(error, Refused):
        return error
    return Refused(500, f"the answer failed: {type(error).__name__}: {error}", kind="server_error", code="failed")


GONE = unavailable("the model is no longer there; the server ends", "engine_ended")
