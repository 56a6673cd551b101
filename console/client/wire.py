"""The run's two services as calls of grpc.aio. The library is imported here, and only when somebody connects."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from google.protobuf.message import Message

Reply = TypeVar("Reply", bound=Message)


def options() -> list[tuple[str, int | str]]:
    """Of every channel. Equal ones to one address share one connection: one ssh carries all calls to a machine."""
    return [
        ("grpc.default_authority", "localhost"),  # of a unix socket it would be the path in percent signs
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]


class Unreachable(Exception):
    """Nobody answers there, or no longer; its text is one sentence."""


class Connection:
    """One HTTP/2 connection; `closed` is never seen from outside: it is made and left by `connected`."""

    def __init__(self, channel: Any, failure: type[Exception]) -> None:
        self._channel = channel
        self._failure = failure

    async def ask(self, path: str, request: Message, reply: type[Reply], *, within_seconds: float) -> Reply:
        """One call. Raises Unreachable, also when no answer comes within the time."""
        call = self._channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        try:
            answer: Reply = await call(request, timeout=within_seconds)
        except self._failure as failed:
            raise Unreachable(_sentence(path, failed)) from failed
        return answer

    async def listen(
        self, path: str, request: Message, reply: type[Reply], later: asyncio.Queue[Any] | None = None
    ) -> AsyncIterator[Reply]:
        """What a stream says after one request, until it ends. Raises Unreachable when it breaks.

        What is put into `later` while it lasts is sent too: further requests of the same kind.
        """
        call = self._channel.stream_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )()
        talk: asyncio.Task[None] | None = None
        try:
            await call.write(request)
            talk = asyncio.create_task(_talk(call, later)) if later is not None else None
            async for message in call:
                yield message
        except self._failure as failed:
            raise Unreachable(_sentence(path, failed)) from failed
        finally:
            if talk is not None:
                talk.cancel()
            call.cancel()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    """A connection to `unix:/path` or `host:port`, made with the first call."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log would be drawn over the screen
    from grpc import aio

    channel = aio.insecure_channel(address, options=options())
    try:
        yield Connection(channel, aio.AioRpcError)
    finally:
        await channel.close()


async def _talk(call: Any, later: asyncio.Queue[Any]) -> None:
    """Send what comes. A call that has broken is told of by its replies; here it is only the end."""
    with suppress(Exception):  # grpc.aio raises several kinds for a call that is over; none of them is ours to mend
        while True:
            await call.write(await later.get())


def _sentence(path: str, failed: Exception) -> str:
    code, details = getattr(failed, "code", None), getattr(failed, "details", None)
    said = str(details() if details else failed).splitlines()
    return f"{path.rpartition('/')[2]}: {said[0] if said else 'no answer'} ({code().name if code else 'lost'})"
