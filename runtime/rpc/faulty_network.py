"""The one seam where faults strike: a network around another one, real or in memory.

Faults are applied on the caller's side of a call, to both directions; so one plan covers every call that is made
through this network. An endpoint is called by its name; a server that was not started through it, by its address.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic

import trio

from runtime.errors import PeerLost, ProtocolError
from runtime.rpc.faults import Direction, Fault, FaultPlan, Place, Verdict
from runtime.rpc.network import WIRE_MARGIN_SECONDS, Channel, Network, Report, Server, ignore
from runtime.rpc.nursery import service_nursery
from runtime.rpc.pipe import MAX_MESSAGES
from runtime.rpc.service import ClientStream, ResponseT, Service, Wire


class FaultyNetwork:
    """Implements Network over `inner`, with the faults of `plan`."""

    def __init__(self, inner: Network, plan: FaultPlan) -> None:
        self._inner, self.plan = inner, plan
        self._names: dict[str, str] = {}
        self._open_calls: dict[trio.CancelScope, tuple[str, str]] = {}

    @contextlib.asynccontextmanager
    async def serve(
        self, services: Sequence[Service], listen: str, *, name: str, report: Report = ignore
    ) -> AsyncIterator[Server]:
        """See Network."""
        async with self._inner.serve(services, listen, name=name, report=report) as server:
            self._names[server.address] = name
            yield server

    @contextlib.asynccontextmanager
    async def connect(self, address: str, *, name: str) -> AsyncIterator[Channel]:
        """See Network."""
        async with self._inner.connect(address, name=name) as inner, service_nursery() as nursery:
            yield _FaultyChannel(self, inner, nursery, caller=name, address=address)

    def sever(self, one: str, other: str) -> None:
        """Breaks every open call between two endpoints, now: PeerLost at the caller, a cancel at the handler."""
        for scope, ends in list(self._open_calls.items()):
            if ends in {(one, other), (other, one)}:
                scope.cancel()

    def route(self, caller: str, address: str, path: str) -> _Route:
        """The plan's view of a new call."""
        server = self._names.get(address, address)
        return _Route(self.plan, caller, server, path, self.plan.number_call(caller, server, path))

    @contextlib.contextmanager
    def severable(self, route: _Route) -> Iterator[None]:
        """Runs its body as an open call: sever() ends it with PeerLost."""
        with trio.CancelScope() as scope:
            self._open_calls[scope] = (route.caller, route.server)
            try:
                yield
            finally:
                del self._open_calls[scope]
        if scope.cancelled_caught:
            raise route.lost("the connection was severed")


class _Route:
    """One call as the plan sees it: who, whom, which; and its fate message by message."""

    def __init__(self, plan: FaultPlan, caller: str, server: str, path: str, number: int) -> None:
        self._plan, self.caller, self.server, self.path, self._number = plan, caller, server, path, number
        self._counts: dict[Direction, int] = {"request": 0, "response": 0}
        self._is_dark = False

    def lost(self, how: str) -> PeerLost:
        return PeerLost(f"{self.path} at {self.server}: {how} (injected fault)")

    async def next(self, direction: Direction) -> Verdict:
        """The verdict on the next message of this direction, after its delay (a reordered one waits elsewhere)."""
        place = Place(self.caller, self.server, self.path, self._number, direction, self._counts[direction])
        self._counts[direction] += 1
        verdict = self._plan.verdict(place)
        self._is_dark = self._is_dark or verdict.fault is Fault.BLACKHOLE
        if verdict.fault is not Fault.REORDER and verdict.delay_seconds:
            await trio.sleep(verdict.delay_seconds)
        await self.passable(direction)
        return verdict

    async def passable(self, direction: Direction) -> None:
        """Waits while the link of this direction is cut; for ever once the call fell into a black hole."""
        if self._is_dark:
            await trio.sleep_forever()
        ends = (self.caller, self.server) if direction == "request" else (self.server, self.caller)
        await self._plan.passable(*ends)


class _FaultyChannel:
    """Implements Channel. What must go on after its caller has left runs in the channel's nursery."""

    def __init__(
        self, network: FaultyNetwork, inner: Channel, nursery: trio.Nursery, *, caller: str, address: str
    ) -> None:
        self._network, self._inner, self._nursery = network, inner, nursery
        self._caller, self._address = caller, address

    async def unary(
        self, path: str, request: Wire, response_type: type[ResponseT], *, within: float | None = None
    ) -> ResponseT:
        """See Channel."""
        route = self._network.route(self._caller, self._address, path)
        with trio.fail_after(math.inf if within is None else within), self._network.severable(route):
            there = (await route.next("request")).fault
            if there is Fault.LOSE_REQUEST:
                raise route.lost("the request was lost")
            if there is Fault.BREAK_IN_FLIGHT:
                self._nursery.start_soon(self._ignored, path, request, response_type)
                raise route.lost("the connection broke while the request was answered")
            if there is Fault.VANISH:
                await trio.sleep_forever()
            if there is Fault.DUPLICATE:
                self._nursery.start_soon(self._ignored, path, request, response_type)
            response = await self._inner.unary(path, request, response_type)
            back = (await route.next("response")).fault
            if back is Fault.LOSE_RESPONSE:
                raise route.lost("the response was lost")
            if back is Fault.VANISH:
                await trio.sleep_forever()
            return response
        raise AssertionError("severable raises when it was severed")

    async def _ignored(self, path: str, request: Wire, response_type: type[ResponseT]) -> None:
        """A call whose caller is not told how it ends."""
        with contextlib.suppress(Exception):  # nobody is there to be told
            await self._inner.unary(path, request, response_type)

    @contextlib.asynccontextmanager
    async def stream(self, path: str, response_type: type[ResponseT]) -> AsyncIterator[ClientStream[Any, ResponseT]]:
        """See Channel."""
        route = self._network.route(self._caller, self._address, path)
        stream: _FaultyStream[ResponseT] = _FaultyStream(route)
        deadline = trio.current_effective_deadline() + WIRE_MARGIN_SECONDS
        if self._nursery.cancel_scope.cancel_called:
            stream.end()
        else:
            self._nursery.start_soon(
                stream.carry, partial(self._inner.stream, path, response_type), self._network, deadline
            )
        try:
            yield stream
        finally:
            stream.leave()


class _FaultyStream(Generic[ResponseT]):
    """Implements ClientStream: two pumps between the caller and the real stream, which strike on the way."""

    def __init__(self, route: _Route) -> None:
        self._route = route
        self._end: Exception | None = route.lost("the channel was closed")
        self._done = trio.Event()
        self._to_send, self._requests = trio.open_memory_channel[Any](MAX_MESSAGES)
        self._responses, self._received = trio.open_memory_channel[ResponseT](MAX_MESSAGES)

    # ---- the caller's side

    async def send(self, message: Wire) -> None:
        """See Stream."""
        try:
            await self._to_send.send(message)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint_if_cancelled()  # the caller's own cancel wins
            raise self._end or self._route.lost("the other side has ended this call") from None

    async def receive(self) -> ResponseT | None:
        """See Stream."""
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._end is not None:
                raise self._end from None
            return None

    def done_sending(self) -> None:
        """See ClientStream."""
        self._to_send.close()

    def __aiter__(self) -> _FaultyStream[ResponseT]:
        return self

    async def __anext__(self) -> ResponseT:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def leave(self) -> None:
        """The caller is gone. Over a cut link the other side does not hear of it before heal()."""
        self._done.set()

    def end(self) -> None:
        """Nothing is carried any more: the caller reads what has arrived, then how the call ended."""
        self._requests.close()
        self._responses.close()

    # ---- between

    async def carry(self, open_inner: Callable[[], Any], network: FaultyNetwork, deadline: float) -> None:
        """Carries messages until the call ends, breaks, or the caller has left."""
        try:
            with trio.CancelScope(deadline=deadline), network.severable(self._route):
                async with open_inner() as inner, trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_requests, inner)
                    nursery.start_soon(self._carry_responses, inner)
                    await self._done.wait()
                    await self._route.passable("request")
                    nursery.cancel_scope.cancel()
        except* Exception as group:  # whatever ended the call: the caller is told in receive() and send()
            self._end = _first_leaf(group)
        finally:
            self.end()

    async def _carry_requests(self, inner: ClientStream[Any, ResponseT]) -> None:
        async with trio.open_nursery() as late:
            async for message in self._requests:
                verdict = await self._route.next("request")
                if verdict.fault is Fault.LOSE_REQUEST:
                    raise self._route.lost("a message was lost")
                await self._pass(message, verdict, partial(_send_if_open, inner), late)
                if verdict.fault is Fault.BREAK_IN_FLIGHT:
                    raise self._route.lost("the connection broke after a message")
        await self._route.passable("request")
        inner.done_sending()

    async def _carry_responses(self, inner: ClientStream[Any, ResponseT]) -> None:
        async with trio.open_nursery() as late:
            async for message in inner:
                verdict = await self._route.next("response")
                if verdict.fault is Fault.LOSE_RESPONSE:
                    raise self._route.lost("a message was lost")
                await self._pass(message, verdict, self._responses.send, late)
        self._end = None
        self._done.set()

    async def _pass(
        self, message: Any, verdict: Verdict, deliver: Callable[[Any], Awaitable[None]], late: trio.Nursery
    ) -> None:
        if verdict.fault is Fault.REORDER:
            late.start_soon(_deliver_late, message, verdict.delay_seconds, deliver)
        elif verdict.fault is not Fault.VANISH:
            await deliver(message)
            if verdict.fault is Fault.DUPLICATE:
                await deliver(message)


async def _send_if_open(inner: ClientStream[Any, Any], message: Any) -> None:
    with contextlib.suppress(ProtocolError):  # the call has ended: its responses tell how
        await inner.send(message)


async def _deliver_late(message: Any, delay_seconds: float, deliver: Callable[[Any], Awaitable[None]]) -> None:
    await trio.sleep(delay_seconds)
    await deliver(message)


def _first_leaf(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
