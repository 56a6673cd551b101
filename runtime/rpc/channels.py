"""The real channel: calls of trio tasks over grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import trio

from runtime.errors import PeerLost
from runtime.rpc.bridge import Bridge, CallAborted, LoopDoorbell
from runtime.rpc.library import grpc
from runtime.rpc.network import WIRE_MARGIN_SECONDS, Limits
from runtime.rpc.pipe import LocalDoorbell, Pipe
from runtime.rpc.service import ClientStream, ResponseT, Wire
from runtime.rpc.status import OK, Status, error_of
from runtime.rpc.stream import CallerStream, decode, encode


class GrpcChannel:
    """Implements Channel over a grpc.aio channel that its opener closes."""

    def __init__(
        self, bridge: Bridge, channel: Any, *, address: str, metadata: Mapping[str, str], limits: Limits
    ) -> None:
        self._bridge, self._channel, self._limits = bridge, channel, limits
        self._address = address
        self._metadata = tuple(metadata.items())
        self._unary: dict[str, Any] = {}
        self.is_closed = False
        """Set by the opener before it closes the channel: gRPC's own answer to a late call is a private exception."""

    async def unary(
        self, path: str, request: Wire, response_type: type[ResponseT], *, within: float | None = None
    ) -> ResponseT:
        """See Channel."""
        raw = encode(request, self._limits.message_bytes)
        with trio.fail_after(math.inf if within is None else within):
            try:
                answer = await self._bridge.run(self._call, path, raw, _wire_timeout_seconds())
            except (CallAborted, grpc.aio.AioRpcError) as failed:
                await trio.lowlevel.checkpoint_if_cancelled()  # the caller's own cancel wins
                raise self._error_of(path, failed) from None
        return decode(answer, response_type)

    async def _call(self, path: str, raw: bytes, timeout_seconds: float | None) -> bytes:
        if self.is_closed:
            raise CallAborted
        if path not in self._unary:
            self._unary[path] = self._channel.unary_unary(path)
        answer: bytes = await self._unary[path](raw, timeout=timeout_seconds, metadata=self._metadata)
        return answer

    @contextlib.asynccontextmanager
    async def stream(self, path: str, response_type: type[ResponseT]) -> AsyncIterator[ClientStream[Any, ResponseT]]:
        """See Channel."""
        await trio.lowlevel.checkpoint_if_cancelled()
        inbox = Pipe(room=LoopDoorbell(self._bridge), news=LocalDoorbell())
        outbox = Pipe(room=LocalDoorbell(), news=LoopDoorbell(self._bridge))
        running = self._bridge.spawn(self._converse, path, inbox, outbox, _wire_timeout_seconds())
        try:
            yield CallerStream(
                inbox=inbox, outbox=outbox, receives=response_type, limit_bytes=self._limits.message_bytes
            )
        finally:
            await running.aclose()

    async def _converse(self, path: str, inbox: Pipe, outbox: Pipe, timeout_seconds: float | None) -> None:
        """The asyncio side of one stream: two pumps, and the end of the call told to both pipes."""
        error: Exception | None = PeerLost(f"{path} at {self._address}: the channel was closed")
        writer = call = None
        try:
            if self.is_closed:
                return
            call = self._channel.stream_stream(path)(timeout=timeout_seconds, metadata=self._metadata)
            writer = self._bridge.loop.create_task(_write_all(call, outbox))
            while (raw := await call.read()) is not grpc.aio.EOF:
                await inbox.put(raw)
            error = None
        except grpc.aio.AioRpcError as failed:
            error = self._error_of(path, failed)
        finally:
            inbox.close(error)
            outbox.refuse(error or error_of(OK, f"{path} at {self._address}"))
            for pump in (writer, call):
                if pump is not None:
                    pump.cancel()

    def _error_of(self, path: str, failed: Exception) -> Exception:
        target = f"{path} at {self._address}"
        if isinstance(failed, grpc.aio.AioRpcError):
            return error_of(Status(failed.code().name, failed.details() or ""), target)
        return PeerLost(f"{target}: the channel was closed")


async def _write_all(call: Any, outbox: Pipe) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader tells how the call ended
        while (raw := await outbox.get()) is not None:
            await call.write(raw)
        await call.done_writing()


def _wire_timeout_seconds() -> float | None:
    remaining_seconds = trio.current_effective_deadline() - trio.current_time()
    return None if math.isinf(remaining_seconds) else remaining_seconds + WIRE_MARGIN_SECONDS
