"""What only the twin can show: deadlines, graces and bounds under a virtual clock, exact and without waiting."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.errors import PeerLost, ProtocolError
from runtime.rpc import CallFailed, Limits, LoopbackNetwork, Server
from runtime.rpc.network import WIRE_MARGIN_SECONDS
from runtime.rpc.pipe import MAX_MESSAGES
from tests.unit.rpc.services import Probe

UPPER, FINISH, HOLD, DEAF = "/test.Probe/Upper", "/test.Probe/Finish", "/test.Probe/Hold", "/test.Probe/Deaf"


async def test_a_call_takes_exactly_as_long_as_its_caller_allows(autojump_clock: MockClock, probe: Probe) -> None:
    network = LoopbackNetwork()
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(trio.TooSlowError):
            await channel.unary(FINISH, b"", bytes, within=3600.0)
        assert trio.current_time() == 3600.0


async def test_the_handlers_deadline_is_the_callers_plus_the_margin(autojump_clock: MockClock, probe: Probe) -> None:
    network = LoopbackNetwork()
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        await channel.unary("/test.Probe/Deadline", b"", bytes, within=7.0)
    assert probe.remaining_seconds == 7.0 + WIRE_MARGIN_SECONDS


async def test_a_handler_past_the_deadline_of_a_shielded_caller_is_too_slow(
    autojump_clock: MockClock, probe: Probe
) -> None:
    network = LoopbackNetwork()
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with trio.CancelScope(deadline=5.0) as scope:
            async with channel.stream(HOLD, bytes) as stream:
                scope.deadline = 1000.0  # the caller has more patience than it said
                with pytest.raises(trio.TooSlowError, match="the caller's deadline passed"):
                    await stream.receive()
        assert trio.current_time() == 5.0 + WIRE_MARGIN_SECONDS


async def test_a_server_stops_as_soon_as_its_last_handler_has_ended(autojump_clock: MockClock, probe: Probe) -> None:
    network = LoopbackNetwork(limits=Limits(stop_grace_seconds=10.0))
    answers: list[bytes] = []

    async def ask(address: str) -> None:
        async with network.connect(address, name="client") as channel:
            answers.append(await channel.unary(FINISH, b"", bytes))

    async with trio.open_nursery() as nursery:
        async with probe.serve(network) as server:
            nursery.start_soon(ask, server.address)
            await probe.started.wait()
            nursery.start_soon(set_after, probe.release, 4.0)
        assert trio.current_time() == 4.0
    assert answers == [b"finished"]


async def test_while_a_server_stops_new_calls_are_lost_and_the_grace_is_bounded(
    autojump_clock: MockClock, probe: Probe
) -> None:
    network = LoopbackNetwork(limits=Limits(stop_grace_seconds=10.0))
    lost: list[str] = []

    async def hold_and_call(server: Server) -> None:
        async with network.connect(server.address, name="client") as channel:
            async with channel.stream(HOLD, bytes) as stream:
                await probe.started.wait()
                await trio.sleep(5.0)
                for each in (channel.unary(UPPER, b"", bytes), stream.receive()):
                    try:
                        await each
                    except PeerLost as error:
                        lost.append(str(error))

    async with trio.open_nursery() as nursery:
        async with probe.serve(network) as server:
            nursery.start_soon(hold_and_call, server)
            await probe.started.wait()
        assert trio.current_time() == 10.0
    assert ["nobody listens there" in lost[0], "the server is stopping" in lost[1]] == [True, True]


async def test_exactly_the_bound_is_in_flight_to_a_deaf_handler(probe: Probe) -> None:
    network, sent = LoopbackNetwork(), 0
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        async with channel.stream(DEAF, bytes) as stream, trio.open_nursery() as nursery:

            async def flood() -> None:
                nonlocal sent
                while True:
                    await stream.send(b"x")
                    sent += 1

            nursery.start_soon(flood)
            await wait_all_tasks_blocked()
            assert sent == MAX_MESSAGES
            nursery.cancel_scope.cancel()


async def test_a_method_called_in_the_wrong_shape_is_explained(probe: Probe) -> None:
    network = LoopbackNetwork()
    probe.release.set()
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(ProtocolError, match="it is not a unary method"):
            await channel.unary(DEAF, b"", bytes)
        async with channel.stream(UPPER, bytes) as stream:
            stream.done_sending()
            with pytest.raises(CallFailed, match="the caller sent no request"):
                await stream.receive()


async def test_two_servers_get_ports_of_their_own(probe: Probe) -> None:
    network = LoopbackNetwork()
    async with probe.serve(network) as one, probe.serve(network) as other:
        assert one.address != other.address


async def set_after(event: trio.Event, seconds: float) -> None:
    await trio.sleep(seconds)
    event.set()
