"""gRPC calls passed on as they are: the far end of a bridge. It knows services by name and messages not at all.

A call of any kind is a stream of messages each way, so one handler does for all. What is in no list is refused here,
at the side of the run: nobody at the other end can talk a bridge that only looks into anything else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from console.client.wire import Unreachable, options

MONITOR = "mlxd.Monitor"
CONTROL = "mlxd.Control"
WATCHING = ("Hello", "Status", "Watch", "History", "Tail")
STEERING = ("Status", "Propose", "Commit")
"""Of Control: what a bridge passes on where it may change the run. Nothing there changes it without a proposal."""
Address = Callable[[], Awaitable[str]]
Rewrite = Callable[[bytes], bytes]


class Way:
    """Where the calls of a service go, which of them, and what is added to a message on its way."""

    def __init__(
        self, address: Address, methods: tuple[str, ...], rewrite: Mapping[str, Rewrite] | None = None
    ) -> None:
        self.address, self.methods, self.rewrite = address, methods, dict(rewrite or {})


def refusal(path: str, ways: Mapping[str, Way]) -> str:
    """Why a call is not passed on, one sentence; empty for one that is."""
    service, _, method = path.removeprefix("/").partition("/")
    if service == CONTROL and CONTROL not in ways:
        return "this bridge is read-only: it shows the run, and cannot change it"
    if service not in ways or method not in ways[service].methods:
        return f"this bridge does not pass on {path}"
    return ""


@asynccontextmanager
async def relaying(ways: Mapping[str, Way], socket: Path) -> AsyncIterator[None]:
    """Serve on a unix socket; every call that no list refuses goes on to where its service is."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc
    from grpc import aio

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
        def service(self, handler_call_details: Any) -> Any:
            path = handler_call_details.method
            return grpc.stream_stream_rpc_method_handler(_passing(path, ways))

    server = aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def _passing(path: str, ways: Mapping[str, Way]) -> Callable[[AsyncIterator[bytes], Any], Awaitable[None]]:
    async def passed(requests: AsyncIterator[bytes], context: Any) -> None:
        import grpc
        from grpc import aio

        why = refusal(path, ways)
        if why:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)
        service, _, method = path.removeprefix("/").partition("/")
        way = ways[service]
        try:
            address = await way.address()
        except Unreachable as lost:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(lost))
        rewrite = way.rewrite.get(method, bytes)
        async with aio.insecure_channel(address, options=options()) as channel:
            call = channel.stream_stream(path)(timeout=context.time_remaining())
            sending = asyncio.create_task(_send(requests, call, rewrite))
            try:
                async for reply in call:
                    await context.write(reply)
            except aio.AioRpcError as failed:
                await context.abort(failed.code(), failed.details() or "")
            finally:
                sending.cancel()
                call.cancel()

    return passed


async def _send(requests: AsyncIterator[bytes], call: Any, rewrite: Rewrite) -> None:
    from grpc import aio

    with suppress(aio.AioRpcError, asyncio.InvalidStateError):  # the reader of the replies tells it
        async for request in requests:
            await call.write(rewrite(request))
        await call.done_writing()
