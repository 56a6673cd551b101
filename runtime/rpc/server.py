"""The trio half of a server, the same for both networks: every call is a task of a nursery that the server owns.

A handler may return, raise, pass its caller's deadline, or be cancelled because the caller left or the server stops.
Whatever happens, its outgoing pipe is closed with the matching status, so that no caller waits for an answer that
will not come; and no exception of a handler reaches the server.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import trio

from runtime.errors import PeerLost, ProtocolError
from runtime.rpc.auth import NAME_KEY, admits
from runtime.rpc.network import HandlerFailure, Limits, Report
from runtime.rpc.nursery import service_nursery
from runtime.rpc.pipe import Pipe
from runtime.rpc.service import Call, Service, UnaryMethod
from runtime.rpc.status import DEADLINE_PASSED, OK, SERVER_STOPPING, UNAUTHENTICATED, Status, StatusError, status_of
from runtime.rpc.stream import PipeStream


class Exchange:
    """One call at the server: its pipes, and the scope that ends the handler when the caller leaves."""

    def __init__(self, call: Call, *, inbox: Pipe, outbox: Pipe, remaining_seconds: float | None) -> None:
        self.call, self.inbox, self.outbox = call, inbox, outbox
        self.remaining_seconds = math.inf if remaining_seconds is None else remaining_seconds
        self.scope = trio.CancelScope()

    def abandon(self) -> None:
        """The caller has left or is lost. Harmless when the call has ended."""
        self.scope.cancel()
        gone = PeerLost(f"{self.call.path}: the caller ({self.call.caller}) has left")
        self.inbox.close(gone)
        self.outbox.refuse(gone)

    def end(self, error: Exception | None) -> None:
        """Closes both directions; the caller sees the end, or the status of `error`."""
        self.outbox.close(None if error is None else StatusError(status_of(error)))
        self.inbox.refuse(StatusError(OK if error is None else status_of(error)))


class Handlers:
    """Runs the methods of some services, each call as its own task."""

    def __init__(self, services: Sequence[Service], *, token: str | None, limits: Limits, report: Report) -> None:
        self.methods = {path: method for service in services for path, method in service.paths().items()}
        self._token, self._limits, self._report = token, limits, report
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._lot = trio.lowlevel.ParkingLot()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Calls are taken inside; at exit those still running are cancelled."""
        async with service_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None

    def call_of(self, path: str, metadata: Mapping[str, str]) -> Call:
        """The admitted call; StatusError for an unknown method or a wrong token."""
        if path not in self.methods:
            raise StatusError(Status("UNIMPLEMENTED", "Method not found!"))
        if not admits(self._token, metadata):
            raise StatusError(UNAUTHENTICATED)
        return Call(path, caller=metadata.get(NAME_KEY, ""), metadata=metadata)

    def start(self, exchange: Exchange) -> None:
        """Runs the call's method in its own task, or refuses when the server stops. Never raises."""
        if self._nursery is None:
            exchange.end(StatusError(SERVER_STOPPING))
        else:
            self._running += 1
            self._nursery.start_soon(self._run, exchange, name=exchange.call.path)

    async def idle(self) -> None:
        """Returns once no call runs."""
        while self._running:
            await self._lot.park()

    async def _run(self, exchange: Exchange) -> None:
        error: Exception | None = StatusError(SERVER_STOPPING)  # what a cancel from outside means
        try:
            with exchange.scope as scope:
                scope.deadline = trio.current_time() + exchange.remaining_seconds
                await self._answer(exchange)
            error = StatusError(DEADLINE_PASSED) if scope.cancelled_caught else None
        except Exception as failure:  # the border of the handler: its failure belongs to its caller, not to the server
            error = failure
            self._report(HandlerFailure(exchange.call.path, exchange.call.caller, failure))
        finally:
            exchange.end(error)
            self._running -= 1
            if not self._running:
                self._lot.unpark_all()

    async def _answer(self, exchange: Exchange) -> None:
        call, method = exchange.call, self.methods[exchange.call.path]
        stream: PipeStream[Any, Any] = PipeStream(
            inbox=exchange.inbox,
            outbox=exchange.outbox,
            receives=method.request_type,
            limit_bytes=self._limits.message_bytes,
        )
        if isinstance(method, UnaryMethod):
            request = await stream.receive()
            if request is None:
                raise ProtocolError(f"{call.path}: the caller sent no request")
            await stream.send(await method.handle(request, call))
        else:
            await method.handle(stream, call)
