"""The in-memory twin of gRPC, in pure trio: for tests under a virtual clock, with any number of endpoints in a process.

The same pipes, streams, handlers and status mapping as the real network, so the same bounds, deadlines, cancellation
and errors; messages are serialised and parsed, so no object is shared. What it leaves out is the socket.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import trio

from runtime.errors import ProtocolError
from runtime.rpc.addresses import UNIX, connectable, in_use, split
from runtime.rpc.auth import metadata_for
from runtime.rpc.network import WIRE_MARGIN_SECONDS, Channel, Limits, Report, Server, ignore
from runtime.rpc.pipe import LocalDoorbell, Pipe
from runtime.rpc.server import Exchange, Handlers
from runtime.rpc.service import ClientStream, ResponseT, Service, Wire
from runtime.rpc.status import Status, StatusError, error_of
from runtime.rpc.stream import CallerStream


class LoopbackNetwork:
    """Implements Network. Endpoints that share one LoopbackNetwork can reach each other by address."""

    def __init__(self, *, token: str | None = None, limits: Limits | None = None) -> None:
        self._token, self._limits = token, limits or Limits()
        self._listeners: dict[str, Handlers] = {}
        self._ports = itertools.count(50_000)

    def with_token(self, token: str | None) -> LoopbackNetwork:
        """The same network for servers and channels of another secret."""
        other = LoopbackNetwork(token=token, limits=self._limits)
        other._listeners, other._ports = self._listeners, self._ports
        return other

    @contextlib.asynccontextmanager
    async def serve(
        self, services: Sequence[Service], listen: str, *, name: str, report: Report = ignore
    ) -> AsyncIterator[Server]:
        """See Network."""
        address = self._address_of(listen)
        if address in self._listeners:
            raise in_use(listen)
        handlers = Handlers(services, token=self._token, limits=self._limits, report=report)
        async with handlers.open():
            self._listeners[address] = handlers
            try:
                yield Server(address=address, name=name)
            finally:
                del self._listeners[address]
                with trio.move_on_after(self._limits.stop_grace_seconds, shield=True):
                    await handlers.idle()

    def _address_of(self, listen: str) -> str:
        if listen.startswith(UNIX):
            return listen
        _, port = split(listen)
        return connectable(listen, port or next(self._ports))

    @contextlib.asynccontextmanager
    async def connect(self, address: str, *, name: str) -> AsyncIterator[Channel]:
        """See Network."""
        channel = _LoopbackChannel(self._listeners, address, metadata_for(name, self._token), self._limits)
        try:
            yield channel
        finally:
            channel.close()


class _LoopbackChannel:
    """Implements Channel: finds the listener anew for each call, as a reconnecting channel does."""

    def __init__(
        self, listeners: Mapping[str, Handlers], address: str, metadata: Mapping[str, str], limits: Limits
    ) -> None:
        self._listeners, self._address = listeners, address
        self._metadata, self._limits = metadata, limits
        self._open_calls: set[_Wire] = set()
        self._closed = False

    async def unary(
        self, path: str, request: Wire, response_type: type[ResponseT], *, within: float | None = None
    ) -> ResponseT:
        """See Channel."""
        with trio.fail_after(math.inf if within is None else within):
            async with self.stream(path, response_type) as stream:
                await stream.send(request)
                stream.done_sending()
                response = await stream.receive()
                if response is None or await stream.receive() is not None:
                    raise ProtocolError(
                        f"{path} at {self._address}: one response was expected; it is not a unary method"
                    )
                return response

    @contextlib.asynccontextmanager
    async def stream(self, path: str, response_type: type[ResponseT]) -> AsyncIterator[ClientStream[Any, ResponseT]]:
        """See Channel."""
        await trio.lowlevel.checkpoint()
        wire = _Wire(f"{path} at {self._address}")
        self._open_calls.add(wire)
        try:
            wire.connect(None if self._closed else self._listeners.get(self._address), path, self._metadata)
            yield _LoopbackStream(wire, receives=response_type, limit_bytes=self._limits.message_bytes)
        finally:
            wire.cut()
            self._open_calls.discard(wire)

    def close(self) -> None:
        """Breaks every open call."""
        self._closed = True
        for wire in self._open_calls:
            wire.cut()


class _Wire:
    """The two pipes of one call, between a caller and (perhaps) a handler."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.requests = Pipe(room=LocalDoorbell(), news=LocalDoorbell())
        self.responses = Pipe(room=LocalDoorbell(), news=LocalDoorbell())
        self._exchange: Exchange | None = None

    def connect(self, handlers: Handlers | None, path: str, metadata: Mapping[str, str]) -> None:
        """Starts the handler; without one, the call ends as it does on a real network."""
        if handlers is None:
            self._end(StatusError(Status("UNAVAILABLE", "nobody listens there")))
            return
        try:
            call = handlers.call_of(path, metadata)
        except StatusError as refused:
            self._end(refused)
            return
        remaining_seconds = trio.current_effective_deadline() - trio.current_time() + WIRE_MARGIN_SECONDS
        self._exchange = Exchange(call, inbox=self.requests, outbox=self.responses, remaining_seconds=remaining_seconds)
        handlers.start(self._exchange)

    def cut(self) -> None:
        """The caller is gone, or its channel was closed."""
        if self._exchange is not None:
            self._exchange.abandon()
        self._end(StatusError(Status("CANCELLED", "the channel was closed")))

    def _end(self, how: StatusError) -> None:
        self.responses.close(how)
        self.requests.refuse(how)


class _LoopbackStream(CallerStream[Any, ResponseT]):
    """Tells the status at the end of a pipe as the caller's exception."""

    def __init__(self, wire: _Wire, *, receives: type[ResponseT], limit_bytes: int) -> None:
        super().__init__(inbox=wire.responses, outbox=wire.requests, receives=receives, limit_bytes=limit_bytes)
        self._target = wire.target

    async def send(self, message: Wire) -> None:
        try:
            await super().send(message)
        except StatusError as ended:
            raise error_of(ended.status, self._target) from None

    async def receive(self) -> ResponseT | None:
        try:
            return await super().receive()
        except StatusError as ended:
            raise error_of(ended.status, self._target) from None
