"""Faults at the seam: each kind does what it says, on the real network and on its twin, and replays by seed."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.errors import PeerLost
from runtime.rpc import Channel, FaultPlan, FaultRates, FaultyNetwork, GrpcNetwork, LoopbackNetwork, Network
from runtime.rpc.faults import Fault, Place, decide
from tests.unit.rpc.services import HANG_SECONDS, Probe

AnyNetwork = GrpcNetwork | LoopbackNetwork
UPPER, ECHO, HOLD = "/test.Probe/Upper", "/test.Probe/Echo", "/test.Probe/Hold"


def faulty(inner: Network, seed: int = 1, **rates: float) -> FaultyNetwork:
    return FaultyNetwork(inner, FaultPlan(seed, FaultRates(**rates)))


async def test_without_faults_it_is_the_network_inside(network: AnyNetwork, probe: Probe) -> None:
    plain = faulty(network)
    async with probe.serve(plain) as server, plain.connect(server.address, name="client") as channel:
        assert await channel.unary(UPPER, b"hello", bytes) == b"HELLO"
        async with channel.stream(ECHO, bytes) as stream:
            for number in range(40):
                await stream.send(b"%d" % number)
                assert await stream.receive() == b"%d" % number
            stream.done_sending()
            assert [message async for message in stream] == []
            assert await stream.receive() is None


async def test_a_lost_request_never_arrives(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network, lose_request=1.0)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with pytest.raises(PeerLost, match=r"/test\.Probe/Upper at server: the request was lost"):
            await channel.unary(UPPER, b"x", bytes)
        await stream_is_lost(channel)
    assert probe.requests == []


async def test_a_lost_response_was_answered(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network, lose_response=1.0)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with pytest.raises(PeerLost, match="the response was lost"):
            await channel.unary(UPPER, b"unary", bytes)
        await stream_is_lost(channel)
    assert probe.requests == [b"unary", b"streamed"]


async def test_a_call_that_breaks_in_flight_is_answered_all_the_same(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network, break_in_flight=1.0)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with pytest.raises(PeerLost, match="broke while the request was answered"):
            await channel.unary("/test.Probe/Finish", b"", bytes)
        with trio.fail_after(HANG_SECONDS):
            await probe.started.wait()
        await stream_is_lost(channel)


async def test_a_duplicate_request_is_answered_twice_and_returned_once(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network, duplicate=1.0)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        assert await channel.unary(UPPER, b"again", bytes) == b"AGAIN"
        with trio.fail_after(HANG_SECONDS):
            while len(probe.requests) < 2:
                await trio.lowlevel.checkpoint()
        async with channel.stream(ECHO, bytes) as stream:
            await stream.send(b"one")
            assert [await stream.receive() for _ in range(4)] == [b"one"] * 4


async def test_one_seed_is_one_story_on_both_networks(network: AnyNetwork, probe: Probe) -> None:
    stories = [await story_of(network, seed) for seed in (11, 11, 12)]
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]
    assert stories[0] == await story_of(LoopbackNetwork(), 11)


async def story_of(network: Network, seed: int) -> tuple[list[str], list[str]]:
    """What twenty concurrent callers see, and what the plan noted."""
    net = faulty(network, seed, lose_request=0.15, lose_response=0.15, break_in_flight=0.15)
    seen: dict[int, str] = {}
    async with Probe().serve(net) as server:

        async def call(number: int) -> None:
            async with net.connect(server.address, name=f"client-{number}") as channel:
                for attempt in range(3):
                    try:
                        await channel.unary(UPPER, b"x", bytes)
                        seen[3 * number + attempt] = "answered"
                    except PeerLost as error:
                        seen[3 * number + attempt] = str(error)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
    return [seen[each] for each in sorted(seen)], sorted(map(repr, net.plan.injected))


# ---- what takes time, or never ends: on the twin, under a virtual clock


@pytest.mark.parametrize("rates", [FaultRates(blackhole=1.0), FaultRates(vanish=1.0)])
async def test_silence_lasts_until_the_caller_gives_up(
    autojump_clock: MockClock, probe: Probe, rates: FaultRates
) -> None:
    net = FaultyNetwork(LoopbackNetwork(), FaultPlan(1, rates))
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with pytest.raises(trio.TooSlowError):
            await channel.unary(UPPER, b"x", bytes, within=1000.0)
        async with channel.stream(ECHO, bytes) as stream:
            await stream.send(b"x")
            with trio.move_on_after(1000.0) as scope:
                await stream.receive()
            assert scope.cancelled_caught
    assert probe.requests == []


async def test_a_response_may_vanish_too(autojump_clock: MockClock, probe: Probe) -> None:
    seed = next(
        seed for seed in range(1000) if faults_of(seed, FaultRates(vanish=0.5), UPPER) == [Fault.NONE, Fault.VANISH]
    )
    net = faulty(LoopbackNetwork(), seed, vanish=0.5)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with pytest.raises(trio.TooSlowError):
            await channel.unary(UPPER, b"x", bytes, within=1000.0)
    assert probe.requests == [b"x"]


def faults_of(seed: int, rates: FaultRates, path: str) -> list[Fault]:
    """The fates of the first request and the first response of the first call."""
    both = (Place("client", "server", path, 0, "request", 0), Place("client", "server", path, 0, "response", 0))
    return [decide(seed, rates, place).fault for place in both]


async def test_a_black_hole_is_half_open_the_handler_never_hears_that_its_caller_left(
    autojump_clock: MockClock, probe: Probe
) -> None:
    net = faulty(LoopbackNetwork(), blackhole=1.0)
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        async with channel.stream(HOLD, bytes) as stream:
            await probe.started.wait()
            await stream.send(b"into the dark")
            await wait_all_tasks_blocked()
        await trio.sleep(1000.0)
        assert not probe.cancelled.is_set()


async def test_delay_keeps_the_order(autojump_clock: MockClock, probe: Probe) -> None:
    net = faulty(LoopbackNetwork(), delay=0.5, delay_seconds=10.0)
    sent = [b"%d" % number for number in range(50)]
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        began = trio.current_time()
        assert await exchange(channel, sent) == sent
        assert 50.0 < trio.current_time() - began < 400.0


async def test_reordering_loses_nothing(autojump_clock: MockClock, probe: Probe) -> None:
    net = faulty(LoopbackNetwork(), reorder=0.3, delay_seconds=1.0)
    sent = [b"%d" % number for number in range(50)]
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        received = await exchange(channel, sent)
    assert Counter(received) == Counter(sent)
    assert received != sent


async def exchange(channel: Channel, sent: list[bytes]) -> list[bytes]:
    async with channel.stream(ECHO, bytes) as stream, trio.open_nursery() as nursery:

        async def send_all() -> None:
            for message in sent:
                await stream.send(message)
            stream.done_sending()

        nursery.start_soon(send_all)
        return [message async for message in stream]


async def test_over_a_cut_link_messages_arrive_late_and_in_order(autojump_clock: MockClock, probe: Probe) -> None:
    net = faulty(LoopbackNetwork())
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        async with channel.stream(ECHO, bytes) as stream:
            net.plan.cut("client", "server")
            for number in range(3):
                await stream.send(b"%d" % number)
            await trio.sleep(100.0)
            assert probe.requests == []
            net.plan.heal()
            assert [await stream.receive() for _ in range(3)] == [b"0", b"1", b"2"]
            net.plan.cut("server", "client")
            await stream.send(b"3")
            with trio.move_on_after(100.0) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            assert probe.requests[-1] == b"3"
            net.plan.heal()
            assert await stream.receive() == b"3"


async def test_behind_a_partition_the_server_hears_of_a_lost_caller_when_it_heals(
    autojump_clock: MockClock, probe: Probe
) -> None:
    net = faulty(LoopbackNetwork())
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        async with channel.stream(HOLD, bytes):
            await probe.started.wait()
            net.plan.partition({"client"}, {"server"})
        await trio.sleep(100.0)
        assert not probe.cancelled.is_set()
        net.plan.heal()
        await probe.cancelled.wait()


async def test_a_severed_connection_is_lost_on_both_sides(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network)
    lost: list[str] = []

    async def ask(channel: Channel) -> None:
        try:
            await channel.unary("/test.Probe/HoldUnary", b"", bytes)
        except PeerLost as error:
            lost.append(str(error))

    with trio.fail_after(HANG_SECONDS):
        async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, channel)
                await probe.started.wait()
                net.sever("server", "somebody else")
                net.sever("server", "client")
            await probe.cancelled.wait()
            probe.started, probe.cancelled = trio.Event(), trio.Event()
            async with channel.stream(HOLD, bytes) as stream:
                await probe.started.wait()
                net.sever("client", "server")
                with pytest.raises(PeerLost, match="the connection was severed"):
                    await stream.receive()
                with pytest.raises(PeerLost, match="the connection was severed"):
                    await stream.send(b"x")
            await probe.cancelled.wait()
    assert lost == ["/test.Probe/HoldUnary at server: the connection was severed (injected fault)"]


async def test_the_callers_deadline_crosses_the_seam(autojump_clock: MockClock, probe: Probe) -> None:
    net = faulty(LoopbackNetwork())
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        with trio.move_on_after(5.0) as scope:
            async with channel.stream(HOLD, bytes) as stream:
                await stream.receive()
        assert scope.cancelled_caught
        await probe.cancelled.wait()
        assert trio.current_time() < 6.0


async def test_a_stream_on_a_closed_channel_is_lost(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network)
    async with probe.serve(net) as server:
        async with net.connect(server.address, name="client") as channel:
            pass
        async with channel.stream(ECHO, bytes) as stream:
            with pytest.raises(PeerLost, match="the channel was closed"):
                await stream.receive()


async def test_a_handler_that_ends_the_call_ends_the_stream(network: AnyNetwork, probe: Probe) -> None:
    net = faulty(network)
    probe.release.set()
    async with probe.serve(net) as server, net.connect(server.address, name="client") as channel:
        async with channel.stream("/test.Probe/Deaf", bytes) as stream:
            assert await stream.receive() is None
            with pytest.raises(PeerLost, match="the other side has ended this call"):
                await stream.send(b"more")


async def stream_is_lost(channel: Channel) -> None:
    async with channel.stream(ECHO, bytes) as stream:
        await stream.send(b"streamed")
        with pytest.raises(PeerLost, match="injected fault"):
            await stream.receive()
