"""A service whose handlers behave in every way that a handler can, and tell the test what happened to them."""

from __future__ import annotations

from typing import Any

import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from runtime.errors import Aborted, StaleGeneration
from runtime.rpc import Call, HandlerFailure, Network, Service, Stream, StreamMethod, UnaryMethod

BytesStream = Stream[bytes, bytes]
HANG_SECONDS = 60.0
"""Only a real hang takes this long."""


class Probe:
    """One instance per server: its events say what its handlers have seen."""

    def __init__(self) -> None:
        self.started, self.cancelled, self.release = trio.Event(), trio.Event(), trio.Event()
        self.calls: list[Call] = []
        self.requests: list[bytes] = []
        self.sent = 0
        self.remaining_seconds = 0.0
        self.failures: list[HandlerFailure] = []
        self.error: Exception | None = None

    def services(self) -> list[Service]:
        streams = {
            "Echo": self.echo, "Hold": self.hold, "Flood": self.flood, "Deaf": self.deaf, "Crash": self.crash,
            "Group": self.group, "LastWords": self.last_words,
        }  # fmt: skip
        unary = {
            "Upper": self.upper, "HoldUnary": self.hold_unary, "Finish": self.finish, "Deadline": self.deadline,
            "CrashUnary": self.crash_unary, "Stale": self.stale, "Aborted": self.aborted,
        }  # fmt: skip
        methods: dict[str, Any] = {name: StreamMethod(bytes, handle) for name, handle in streams.items()}
        methods |= {name: UnaryMethod(bytes, handle) for name, handle in unary.items()}
        typed = Service("test.Typed", {"Count": StreamMethod(StringValue, self.count)})
        return [Service("test.Probe", methods), typed]

    def serve(self, network: Network, listen: str = "127.0.0.1:0") -> Any:
        return network.serve(self.services(), listen, name="server", report=self.failures.append)

    # ---- streams

    async def count(self, stream: Stream[Int64Value, StringValue], call: Call) -> None:
        async for message in stream:
            await stream.send(Int64Value(value=len(message.value)))

    async def echo(self, stream: BytesStream, call: Call) -> None:
        self.calls.append(call)
        async for message in stream:
            self.requests.append(message)
            await stream.send(message)

    async def hold(self, stream: BytesStream, call: Call) -> None:
        await self._until_cancelled()

    async def flood(self, stream: BytesStream, call: Call) -> None:
        try:
            while True:
                await stream.send(bytes(64 * 1024))
                self.sent += 1
        finally:
            self.cancelled.set()

    async def deaf(self, stream: BytesStream, call: Call) -> None:
        self.started.set()
        await self.release.wait()

    async def crash(self, stream: BytesStream, call: Call) -> None:
        await stream.send(b"before")
        raise ValueError("boom")

    async def group(self, stream: BytesStream, call: Call) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._raise, KeyError("first"))

    async def last_words(self, stream: BytesStream, call: Call) -> None:
        """Goes on sending although its caller has left."""
        self.started.set()
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await stream.send(bytes(64 * 1024))
            except Exception as error:
                self.error = error
                self.cancelled.set()

    # ---- unary

    async def upper(self, request: bytes, call: Call) -> bytes:
        self.requests.append(request)
        return request.upper()

    async def hold_unary(self, request: bytes, call: Call) -> bytes:
        await self._until_cancelled()
        raise AssertionError

    async def finish(self, request: bytes, call: Call) -> bytes:
        self.started.set()
        await self.release.wait()
        return b"finished"

    async def deadline(self, request: bytes, call: Call) -> bytes:
        self.remaining_seconds = trio.current_effective_deadline() - trio.current_time()
        return b""

    async def crash_unary(self, request: bytes, call: Call) -> bytes:
        raise ValueError("boom")

    async def stale(self, request: bytes, call: Call) -> bytes:
        raise StaleGeneration("generation 3 is over: join again")

    async def aborted(self, request: bytes, call: Call) -> bytes:
        raise Aborted("worker 1 died")

    async def _until_cancelled(self) -> None:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    async def _raise(self, error: Exception) -> None:
        raise error
