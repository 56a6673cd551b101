"""The seam: what the rest of the runtime knows of a network. Real: GrpcNetwork. In memory: LoopbackNetwork.

Deadlines belong to the caller: the deadline of its trio scopes travels with the call, and the handler runs under it.
A caller that leaves (deadline, cancel, crash) cancels the handler; a server that stops or dies raises PeerLost at
the caller. The caller's own cancel scope always wins over what the wire reports about the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.rpc.service import ClientStream, ResponseT, Service, Wire

WIRE_MARGIN_SECONDS = 0.25
"""The wire's deadline is this much later than the caller's, so that the caller's own scope ends the call."""


@dataclass(frozen=True)
class Limits:
    """Sizes and times of a network, the same on both sides."""

    message_bytes: int = 64 << 20
    """Largest message; larger ones raise ProtocolError in send()."""
    stop_grace_seconds: float = 0.5
    """How long a stopping server lets running handlers go on before it cancels them."""
    keepalive_seconds: float = 10.0
    """A silent connection is pinged this often, also without calls."""
    keepalive_timeout_seconds: float = 5.0
    """A ping without an answer for this long breaks the connection: calls on it raise PeerLost."""
    reconnect_seconds: float = 0.5
    """Longest pause before a lost connection may be tried again by the next call."""
    connect_seconds: float = 5.0
    """How long one attempt to connect may take. Where nobody listens it is refused at once, but a process that has to
    wait for a core is slow to greet."""


@dataclass(frozen=True)
class Server:
    """A listening server; it stops when its context is left."""

    address: str
    """What connect() takes; a port of 0 is replaced by the real one."""
    name: str


@dataclass(frozen=True)
class HandlerFailure:
    """A handler raised; the caller got type and text, the traceback is here for the log."""

    path: str
    caller: str
    error: Exception


Report = Callable[[HandlerFailure], None]


def ignore(_failure: HandlerFailure) -> None:
    """The default report: the caller is told anyway."""


class Channel(Protocol):
    """A connection to one address, made at the first call and made again after a loss by the next call."""

    async def unary(
        self, path: str, request: Wire, response_type: type[ResponseT], *, within: float | None = None
    ) -> ResponseT:
        """One call. trio.TooSlowError after `within` seconds; PeerLost when the other side cannot be reached or is
        lost; StaleGeneration, Aborted or CallFailed when it says so."""

    def stream(
        self, path: str, response_type: type[ResponseT]
    ) -> AbstractAsyncContextManager[ClientStream[Any, ResponseT]]:
        """A call with a stream each way. Leaving the context cancels it, unless the other side has ended it: to
        finish in order, done_sending() and receive() until None. Opening does not wait for the other side."""


class Network(Protocol):
    """Serves and connects. `name` tells who is who in metadata, fault plans and errors."""

    def serve(
        self, services: Sequence[Service], listen: str, *, name: str, report: Report = ignore
    ) -> AbstractAsyncContextManager[Server]:
        """A server on `listen`: `host:port` (port 0 = any free one) or `unix:/path`. RunError when it cannot listen.

        Handlers are tasks of a nursery inside this context. At exit new calls are refused, running handlers get
        `stop_grace_seconds`, then they are cancelled; an outer cancel cancels them at once."""

    def connect(self, address: str, *, name: str) -> AbstractAsyncContextManager[Channel]:
        """A channel; does not wait for the other side. At exit its open calls raise PeerLost."""
