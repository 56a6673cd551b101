"""The asyncio half of the real server: gRPC's callbacks fill and drain the pipes of an Exchange."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.rpc.bridge import Bridge, LoopDoorbell
from runtime.rpc.library import grpc
from runtime.rpc.pipe import LocalDoorbell, Pipe
from runtime.rpc.server import Exchange, Handlers
from runtime.rpc.service import UnaryMethod
from runtime.rpc.status import StatusError

Context = Any
"""grpc.aio.ServicerContext; gRPC has no types of its own."""


class GrpcHandlers:
    """Adapts the trio handlers to what grpc.aio calls. Everything here runs in turns of the loop."""

    def __init__(self, bridge: Bridge, handlers: Handlers) -> None:
        self._bridge, self._handlers = bridge, handlers

    def register(self, server: Any) -> None:
        """Registers every method with a grpc.aio server, bytes in and bytes out."""
        by_service: dict[str, dict[str, Any]] = {}
        for path, method in self._handlers.methods.items():
            _, service, name = path.split("/")
            if isinstance(method, UnaryMethod):
                adapted = grpc.unary_unary_rpc_method_handler(self._unary(path))
            else:
                adapted = grpc.stream_stream_rpc_method_handler(self._stream(path))
            by_service.setdefault(service, {})[name] = adapted
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in by_service.items())
        )

    def _unary(self, path: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def answer(request: bytes, context: Context) -> bytes:
            exchange = await self._admit(path, context)
            await exchange.inbox.put(request)
            exchange.inbox.close()
            self._handlers.start(exchange)
            try:
                response = await exchange.outbox.get()
                await exchange.outbox.get()  # the handler's end: an error after the response still counts
            except StatusError as failed:
                await _abort(context, failed)
            finally:
                exchange.abandon()
            assert response is not None  # a unary handler that ends well has sent its response
            return response

        return answer

    def _stream(self, path: str) -> Callable[[Any, Context], Awaitable[None]]:
        async def converse(_requests: Any, context: Context) -> None:
            exchange = await self._admit(path, context)
            reader = self._bridge.loop.create_task(_read_all(context, exchange.inbox))
            self._handlers.start(exchange)
            try:
                while (raw := await exchange.outbox.get()) is not None:
                    await context.write(raw)
            except StatusError as failed:
                await _abort(context, failed)
            finally:
                exchange.abandon()
                reader.cancel()

        return converse

    async def _admit(self, path: str, context: Context) -> Exchange:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        try:
            call = self._handlers.call_of(path, metadata)
        except StatusError as refused:
            await _abort(context, refused)
        return Exchange(
            call,
            inbox=Pipe(room=LoopDoorbell(self._bridge), news=LocalDoorbell()),
            outbox=Pipe(room=LocalDoorbell(), news=LoopDoorbell(self._bridge)),
            remaining_seconds=context.time_remaining(),
        )


async def _abort(context: Context, failed: StatusError) -> None:
    """Ends the call with the status: raises."""
    await context.abort(grpc.StatusCode[failed.status.code], failed.status.details)


async def _read_all(context: Context, inbox: Pipe) -> None:
    """Requests into the pipe until the caller's last one. A lost caller shows as a cancel of the whole call."""
    with contextlib.suppress(StatusError):  # the handler has ended and wants no more
        while (raw := await context.read()) is not grpc.aio.EOF:
            await inbox.put(raw)
        inbox.close()
