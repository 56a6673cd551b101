"""What a server offers, as data: services, their methods, and the trio functions that answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

Wire: TypeAlias = Message | bytes
"""What travels: a protobuf message, or raw bytes that are passed through as they are."""

WireT = TypeVar("WireT", bound=Wire)
RequestT = TypeVar("RequestT", bound=Wire)
ResponseT = TypeVar("ResponseT", bound=Wire)
SendT_contra = TypeVar("SendT_contra", bound=Wire, contravariant=True)
ReceiveT_co = TypeVar("ReceiveT_co", bound=Wire, covariant=True)


class Stream(Protocol[SendT_contra, ReceiveT_co]):
    """One side of an open call: messages in both directions, in order.

    send and receive may be called by different tasks, and each is cancelled without losing a message.
    """

    async def send(self, message: SendT_contra) -> None:
        """Queues one message; waits while the other side is slow (bounded, see pipe.py). Raises PeerLost or what the
        call ended with once nobody will read it. Queued is not delivered: to be sure, wait for an answer."""

    async def receive(self) -> ReceiveT_co | None:
        """The next message; None once the other side has finished in order. Raises PeerLost or what the call
        ended with; messages that arrived before are handed out first."""

    def __aiter__(self) -> Stream[SendT_contra, ReceiveT_co]:
        """Iterates over receive() until the end."""

    async def __anext__(self) -> ReceiveT_co:
        """The next message of the iteration."""


class ClientStream(Stream[SendT_contra, ReceiveT_co], Protocol[SendT_contra, ReceiveT_co]):
    """The caller's side. (A handler ends its direction, and the call, by returning.)"""

    def done_sending(self) -> None:
        """Ends this direction after what is queued: the handler's receive() returns None."""


@dataclass(frozen=True)
class Call:
    """What a handler may know about its caller."""

    path: str
    """`/mlxd.Cluster/Session`"""
    caller: str
    """The name that the caller gave to connect(); not proven."""
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class UnaryMethod(Generic[RequestT, ResponseT]):
    """One request, one response. What `handle` raises becomes a status (status.py); the server goes on."""

    request_type: type[RequestT]
    handle: Callable[[RequestT, Call], Awaitable[ResponseT]]


@dataclass(frozen=True)
class StreamMethod(Generic[RequestT, ResponseT]):
    """A stream each way. The call ends when `handle` returns; it is cancelled when the caller leaves or is lost."""

    request_type: type[RequestT]
    handle: Callable[[Stream[ResponseT, RequestT], Call], Awaitable[None]]


Method: TypeAlias = UnaryMethod[Any, Any] | StreamMethod[Any, Any]


@dataclass(frozen=True)
class Service:
    """Methods under one name, `package.Name` as in the .proto file."""

    name: str
    methods: Mapping[str, Method]

    def paths(self) -> dict[str, Method]:
        """`/package.Name/Method` -> method."""
        return {f"/{self.name}/{method}": how for method, how in self.methods.items()}
