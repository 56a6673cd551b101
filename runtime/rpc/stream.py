"""Typed messages over two pipes: the one implementation of Stream, for callers and handlers of both networks."""

from __future__ import annotations

from typing import Generic, cast

import trio
from google.protobuf.message import DecodeError, Message

from runtime.errors import ProtocolError
from runtime.rpc.pipe import Pipe
from runtime.rpc.service import RequestT, ResponseT, Wire, WireT


def encode(message: Wire, limit_bytes: int) -> bytes:
    """The bytes of a message; ProtocolError when the other side would refuse it for its size."""
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    if len(raw) > limit_bytes:
        raise ProtocolError(
            f"{type(message).__name__} of {len(raw)} bytes is above the limit of {limit_bytes} bytes per message: "
            "send it in chunks"
        )
    return raw


def decode(raw: bytes, kind: type[WireT]) -> WireT:
    """The message of type `kind`; ProtocolError when the bytes are of something else."""
    if issubclass(kind, Message):
        try:
            return kind.FromString(raw)
        except DecodeError as error:
            raise ProtocolError(
                f"{len(raw)} bytes that are not a {kind.__name__}: both sides must run the same version"
            ) from error
    return cast(WireT, raw)


class PipeStream(Generic[RequestT, ResponseT]):
    """Implements Stream: sends RequestT into `outbox`, receives ResponseT from `inbox`."""

    def __init__(self, *, inbox: Pipe, outbox: Pipe, receives: type[ResponseT], limit_bytes: int) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._receives = receives
        self._limit_bytes = limit_bytes

    async def send(self, message: RequestT) -> None:
        """See Stream."""
        raw = encode(message, self._limit_bytes)
        await trio.lowlevel.checkpoint_if_cancelled()  # a full checkpoint would cost a turn; a full pipe gives one
        await self._outbox.put(raw)

    async def receive(self) -> ResponseT | None:
        """See Stream."""
        if self._inbox.is_ready():
            await trio.lowlevel.checkpoint()  # nothing to wait for: let others run all the same
        raw = await self._inbox.get()
        return None if raw is None else decode(raw, self._receives)

    def __aiter__(self) -> PipeStream[RequestT, ResponseT]:
        return self

    async def __anext__(self) -> ResponseT:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message


class CallerStream(PipeStream[RequestT, ResponseT]):
    """Implements ClientStream."""

    def done_sending(self) -> None:
        """See ClientStream."""
        self._outbox.close()
