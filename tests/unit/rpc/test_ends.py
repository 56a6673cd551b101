"""How calls end before their time: cancels, deadlines, stops and losses, on the real network and on its twin."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from runtime.errors import PeerLost
from runtime.rpc import CallFailed, Channel, GrpcNetwork, LoopbackNetwork, new_token
from tests.unit.rpc.services import HANG_SECONDS, Probe

AnyNetwork = GrpcNetwork | LoopbackNetwork


@pytest.mark.parametrize("method", ["Hold", "HoldUnary"])
async def test_a_caller_that_is_cancelled_cancels_its_handler(network: AnyNetwork, probe: Probe, method: str) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with trio.fail_after(HANG_SECONDS):
            async with trio.open_nursery() as nursery:
                if method == "Hold":
                    nursery.start_soon(receive_from, channel, "/test.Probe/Hold")
                else:
                    nursery.start_soon(channel.unary, "/test.Probe/HoldUnary", b"", bytes)
                await probe.started.wait()
                nursery.cancel_scope.cancel()
            await probe.cancelled.wait()
        assert probe.failures == []


async def test_a_caller_that_leaves_its_stream_cancels_the_handler(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with trio.fail_after(HANG_SECONDS):
            async with channel.stream("/test.Probe/Hold", bytes):
                await probe.started.wait()
            await probe.cancelled.wait()
        assert await channel.unary("/test.Probe/Upper", b"next", bytes) == b"NEXT"


async def test_a_handler_that_outlives_its_caller_is_told_when_it_sends(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="worker-7") as channel:
        with trio.fail_after(HANG_SECONDS):
            async with channel.stream("/test.Probe/LastWords", bytes):
                await probe.started.wait()
            await probe.cancelled.wait()
    assert str(probe.error) == "/test.Probe/LastWords: the caller (worker-7) has left"


async def test_within_ends_a_call_that_takes_too_long(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with trio.fail_after(HANG_SECONDS):
            while not probe.started.is_set():  # a busy machine may not bring a call there in time
                with pytest.raises(trio.TooSlowError):
                    await channel.unary("/test.Probe/HoldUnary", b"", bytes, within=0.05)
            await probe.cancelled.wait()


async def test_the_callers_own_scope_ends_the_call_and_not_an_error(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        scope = trio.CancelScope()

        async def end_it_once_it_is_there() -> None:
            await probe.started.wait()
            scope.deadline = trio.current_time()

        with trio.fail_after(HANG_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_it_once_it_is_there)
                with scope:
                    await receive_from(channel, "/test.Probe/Hold")
            assert scope.cancelled_caught
            await probe.cancelled.wait()


async def test_the_handler_runs_under_the_callers_deadline(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        await channel.unary("/test.Probe/Deadline", b"", bytes, within=1000.0)
        assert 500.0 < probe.remaining_seconds < 1100.0  # the wire rounds it up by up to one percent
        await channel.unary("/test.Probe/Deadline", b"", bytes)
        assert probe.remaining_seconds > 1e6


async def test_a_stopping_server_lets_a_call_finish_within_the_grace(network: AnyNetwork, probe: Probe) -> None:
    answers: list[bytes] = []

    async def ask(address: str, asked: trio.Event) -> None:
        async with network.connect(address, name="client") as channel:
            answers.append(await channel.unary("/test.Probe/Finish", b"", bytes))
        asked.set()

    asked = trio.Event()
    async with trio.open_nursery() as nursery:
        async with probe.serve(network) as server:
            nursery.start_soon(ask, server.address, asked)
            await probe.started.wait()
            probe.release.set()
        await asked.wait()
    assert answers == [b"finished"]


async def test_a_stopped_server_cancels_its_handlers_and_loses_its_callers(network: AnyNetwork, probe: Probe) -> None:
    lost: list[str] = []

    async def hold(address: str) -> None:
        async with network.connect(address, name="client") as channel:
            try:
                await receive_from(channel, "/test.Probe/Hold")
            except PeerLost as error:
                lost.append(str(error))

    with trio.fail_after(HANG_SECONDS):
        async with trio.open_nursery() as nursery:
            async with probe.serve(network) as server:
                nursery.start_soon(hold, server.address)
                await probe.started.wait()
    assert probe.cancelled.is_set()
    assert len(lost) == 1
    assert "/test.Probe/Hold" in lost[0]


async def test_an_outer_cancel_stops_a_server_in_order(network: AnyNetwork, probe: Probe) -> None:
    with trio.fail_after(HANG_SECONDS):
        with trio.CancelScope() as scope:
            async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
                async with channel.stream("/test.Probe/Hold", bytes) as stream:
                    await probe.started.wait()
                    scope.cancel()
                    await stream.receive()
    assert scope.cancelled_caught
    assert probe.cancelled.is_set()


async def test_a_channel_that_closes_loses_the_calls_on_it(network: AnyNetwork, probe: Probe) -> None:
    lost: list[PeerLost] = []

    async def hold(channel: Channel, method: str) -> None:
        try:
            if method == "Hold":
                await receive_from(channel, "/test.Probe/Hold")
            else:
                await channel.unary("/test.Probe/Finish", b"", bytes)
        except PeerLost as error:
            lost.append(error)

    with trio.fail_after(HANG_SECONDS):
        async with probe.serve(network) as server, trio.open_nursery() as nursery:
            async with network.connect(server.address, name="client") as channel:
                nursery.start_soon(hold, channel, "Hold")
                await probe.started.wait()
                probe.started = trio.Event()
                nursery.start_soon(hold, channel, "Finish")
                await probe.started.wait()
    assert len(lost) == 2


async def test_a_call_on_a_closed_channel_is_lost_at_once(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server:
        async with network.connect(server.address, name="client") as channel:
            pass
        with pytest.raises(PeerLost):
            await channel.unary("/test.Probe/Upper", b"", bytes)
        with pytest.raises(PeerLost):
            await receive_from(channel, "/test.Probe/Echo")


async def test_where_nobody_listens_a_call_is_lost_and_the_next_may_succeed(
    network: AnyNetwork, probe: Probe, socket_folder: Path
) -> None:
    address = f"unix:{socket_folder}/server"
    async with network.connect(address, name="client") as channel:
        with pytest.raises(PeerLost, match=r"/test\.Probe/Upper at unix:"):
            await channel.unary("/test.Probe/Upper", b"", bytes)
        with pytest.raises(PeerLost):
            await receive_from(channel, "/test.Probe/Echo")
        async with probe.serve(network, address):
            with trio.fail_after(HANG_SECONDS):
                answer = None
                while answer is None:
                    try:
                        answer = await channel.unary("/test.Probe/Upper", b"again", bytes)
                    except PeerLost:
                        await trio.lowlevel.checkpoint()  # the connection's own pause between attempts
    assert answer == b"AGAIN"


async def test_who_listens_and_is_slow_to_greet_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:  # the kernel takes the connection, nobody says anything on it
        address = f"127.0.0.1:{slow.getsockname()[1]}"
        async with GrpcNetwork.open() as network, network.connect(address, name="client") as channel:
            with pytest.raises(trio.TooSlowError):
                await channel.unary("/test.Probe/Upper", b"", bytes, within=0.5)


async def test_a_slow_reader_holds_up_the_handler_that_sends(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        async with channel.stream("/test.Probe/Flood", bytes) as stream:
            assert await stream.receive() == bytes(64 * 1024)
            await stays_still(lambda: probe.sent)
            assert probe.sent * 64 * 1024 < 64 << 20
        with trio.fail_after(HANG_SECONDS):
            await probe.cancelled.wait()


async def test_a_slow_handler_holds_up_the_caller_that_sends(network: AnyNetwork, probe: Probe) -> None:
    sent = 0
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        async with channel.stream("/test.Probe/Deaf", bytes) as stream, trio.open_nursery() as nursery:

            async def flood() -> None:
                nonlocal sent
                while True:
                    await stream.send(bytes(64 * 1024))
                    sent += 1

            nursery.start_soon(flood)
            await probe.started.wait()
            await stays_still(lambda: sent)
            assert 0 < sent * 64 * 1024 < 64 << 20
            nursery.cancel_scope.cancel()


async def test_without_the_token_a_call_is_refused(network: AnyNetwork, probe: Probe) -> None:
    token = new_token()
    async with probe.serve(network.with_token(token)) as server:
        for wrong in (None, new_token(), token[:-1]):
            async with network.with_token(wrong).connect(server.address, name="stranger") as channel:
                with pytest.raises(
                    CallFailed, match="refused, the token is missing or wrong; give both sides the same"
                ):
                    await channel.unary("/test.Probe/Upper", b"", bytes)
                with pytest.raises(CallFailed, match="refused"):
                    await receive_from(channel, "/test.Probe/Echo")
        async with network.with_token(token).connect(server.address, name="friend") as channel:
            assert await channel.unary("/test.Probe/Upper", b"in", bytes) == b"IN"
    assert probe.requests == [b"in"]


async def test_a_server_without_a_token_lets_everybody_in(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server:
        async with network.with_token(new_token()).connect(server.address, name="client") as channel:
            assert await channel.unary("/test.Probe/Upper", b"in", bytes) == b"IN"


async def receive_from(channel: Channel, path: str) -> object:
    """Opens a stream and waits for one message."""
    async with channel.stream(path, bytes) as stream:
        return await stream.receive()


async def stays_still(value: Callable[[], int]) -> None:
    """Returns once `value()` has not changed over many turns of the loop."""
    with trio.fail_after(HANG_SECONDS):
        quiet, last = 0, value()
        while quiet < 2000:
            await trio.lowlevel.checkpoint()
            now = value()
            quiet, last = (quiet + 1, last) if now == last else (0, now)
