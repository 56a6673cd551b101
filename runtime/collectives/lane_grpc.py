"""The lane over the network: one long-lived gRPC stream per directed pair of peers, raw bytes, blocking threads.

No trio and no asyncio here: measured, a plain thread that blocks is the cheapest way to feed a gRPC stream. Flow
control is HTTP/2's; on top of it a receiver holds at most `HELD_MESSAGES` that it cannot add yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from runtime.collectives.carrier import Carried
from runtime.collectives.codec import Bytes
from runtime.collectives.frame import HEADER_BYTES, Header, Hello
from runtime.collectives.reduction import Outgoing
from runtime.errors import ProtocolError
from runtime.ids import Rank
from runtime.rpc.addresses import refusal
from runtime.rpc.library import grpc

SERVICE = "mlxd.DataPlane"
HELLO_KEY = "mlxd-hello-bin"
HELD_MESSAGES = 8
CONNECT_SECONDS = 10.0
"""A peer that does not answer the first call within this time is lost; a dead process is refused at once."""
_SERVER_THREADS = 64
"""Streams of 7 peers, as many broken ones that still wind up, and state transfers; threads start on demand."""

OPTIONS = (  # frame sizes, read chunks, lookahead and unix sockets were measured and change nothing beyond the noise
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # a channel reopened after a failure must not inherit its backoff
    ("grpc.so_reuseport", 0),
)


def identity(data: bytes) -> bytes:
    """The serializer of everything on this plane."""
    return data


def channel_to(target: str) -> Any:
    """A new channel to `host:port`; the caller closes it."""
    return grpc.insecure_channel(target, options=OPTIONS)


def unary(channel: Any, method: str) -> Any:
    """A bytes -> bytes method of the data plane."""
    return channel.unary_unary(f"/{SERVICE}/{method}", identity, identity)


class GrpcSender:
    """The sending side of a stream; `run` works in the lane's thread, gRPC pulls messages in one of its own."""

    def __init__(self, channel: Any, hello: Hello, peer: Rank, traffic: Carried) -> None:
        self._peer, self._traffic = peer, traffic
        self._kicked = threading.Event()
        self._ended = False
        start = channel.stream_unary(f"/{SERVICE}/Stream", identity, identity)
        self._call = start.future(self._messages(), metadata=((HELLO_KEY, hello.pack()),))

    def run(self) -> None:
        """Carry messages until the stream ends; raises ProtocolError when the other side or the network broke it."""
        try:
            self._call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise ProtocolError(f"the stream to rank {self._peer} broke") from error
        finally:
            self.finish()

    def kick(self) -> None:
        """There may be a message to take."""
        self._kicked.set()

    def finish(self) -> None:
        """End the stream: the receiver answers, and `run` returns, when it has taken all messages."""
        self._ended = True
        self._kicked.set()

    def close(self) -> None:
        """Cancel the stream; `run` returns. Safe from any thread."""
        self._call.cancel()

    def dispose(self) -> None:
        """Nothing is left to give back: the channel belongs to the lane."""

    def _messages(self) -> Iterator[bytes]:
        while not self._ended:
            self._kicked.clear()
            while (outgoing := self._traffic.take(self._peer)) is not None:
                yield _joined(outgoing)
            self._kicked.wait()


def _joined(outgoing: Outgoing) -> bytes:
    """Header and payload as the one bytes object that gRPC wants: a single copy where nothing has to be converted."""
    try:
        payload = outgoing.direct()
        if payload is None:
            encoded: Bytes = np.empty(outgoing.payload_bytes, np.uint8)
            outgoing.write(encoded)
            payload = memoryview(encoded)
        return b"".join((outgoing.header.pack(), payload))
    finally:
        outgoing.done()


class GrpcServer:
    """The data port of a peer: incoming streams, the offer of a faster lane, and whatever unary methods are given."""

    def __init__(
        self, listen: str, traffic: Carried, session: int, methods: Mapping[str, Callable[[bytes], bytes]]
    ) -> None:
        """Listens on `host:port` (port 0: any free one); raises RunError when it cannot."""
        self._traffic, self._session = traffic, session
        handlers = {name: grpc.unary_unary_rpc_method_handler(_plain(call), identity, identity)
                    for name, call in methods.items()}  # fmt: skip
        handlers["Stream"] = grpc.stream_unary_rpc_method_handler(self._stream, identity, identity)
        self._pool = ThreadPoolExecutor(_SERVER_THREADS, "data-plane")
        self._server = grpc.server(self._pool, options=OPTIONS)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self.port: int = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise refusal(listen, error) from error
        self._server.start()

    def close(self) -> None:
        """Break every stream and join the threads. The traffic must be closed first: it wakes blocked streams."""
        self._server.stop(grace=0).wait()
        self._pool.shutdown(wait=True)

    def _stream(self, messages: Iterator[bytes], context: Any) -> bytes:
        try:
            hello = Hello.unpack(dict(context.invocation_metadata()).get(HELLO_KEY, b""))
            hello.check(self._traffic.run, self._session)
        except ProtocolError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise
        held = threading.Semaphore(HELD_MESSAGES)
        self._traffic.opened(hello)
        try:
            for message in messages:
                header, _ = Header.unpack(message)
                payload: Bytes = np.frombuffer(message, np.uint8, offset=HEADER_BYTES)
                held.acquire()
                self._traffic.deliver(hello, header, payload, held.release)
        except (grpc.RpcError, ProtocolError):
            pass  # the stream broke or speaks nonsense: either way this lane of that peer is over, as said below
        finally:
            self._traffic.incoming_lost(hello)
        return b""


def _plain(call: Callable[[bytes], bytes]) -> Callable[[bytes, Any], bytes]:
    """A handler out of a function: a ProtocolError becomes a status with its sentence."""

    def handle(request: bytes, context: Any) -> bytes:
        try:
            return call(request)
        except ProtocolError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    return handle
