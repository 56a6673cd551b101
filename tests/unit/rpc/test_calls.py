"""Messages, ends and failures of calls: one suite for the real network and for its twin."""

from __future__ import annotations

import pytest
import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from runtime.errors import Aborted, PeerLost, ProtocolError, StaleGeneration
from runtime.rpc import CallFailed, GrpcNetwork, LoopbackNetwork
from tests.unit.rpc.services import HANG_SECONDS, Probe

AnyNetwork = GrpcNetwork | LoopbackNetwork


async def test_a_unary_call_is_answered(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        assert await channel.unary("/test.Probe/Upper", b"hello", bytes) == b"HELLO"
        assert server.name == "server"


async def test_protobuf_messages_arrive_as_their_types(network: AnyNetwork, probe: Probe) -> None:
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="worker-0") as channel,
        channel.stream("/test.Typed/Count", Int64Value) as stream,
    ):
        await stream.send(StringValue(value="seven c"))
        answer = await stream.receive()
    assert answer is not None
    assert answer.value == 7


async def test_a_stream_keeps_the_order_and_ends_with_none(network: AnyNetwork, probe: Probe) -> None:
    sent = [f"message {number}".encode() for number in range(200)]
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="client") as channel,
        channel.stream("/test.Probe/Echo", bytes) as stream,
        trio.open_nursery() as nursery,
    ):

        async def send_all() -> None:
            for message in sent:
                await stream.send(message)
            stream.done_sending()

        nursery.start_soon(send_all)
        assert [message async for message in stream] == sent
        assert await stream.receive() is None


async def test_after_done_sending_a_message_is_a_mistake_of_the_caller(network: AnyNetwork, probe: Probe) -> None:
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="client") as channel,
        channel.stream("/test.Probe/Hold", bytes) as stream,
    ):
        stream.done_sending()
        with pytest.raises(RuntimeError, match="done_sending"):
            await stream.send(b"late")


async def test_a_call_that_the_handler_has_ended_takes_no_more_messages(network: AnyNetwork, probe: Probe) -> None:
    probe.release.set()
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="client") as channel,
        channel.stream("/test.Probe/Deaf", bytes) as stream,
    ):
        assert await stream.receive() is None
        with pytest.raises(PeerLost, match="has ended this call"):
            await stream.send(b"more")


async def test_the_handler_knows_who_calls(network: AnyNetwork, probe: Probe) -> None:
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="worker-3") as channel,
        channel.stream("/test.Probe/Echo", bytes) as stream,
    ):
        await stream.send(b"x")
        await stream.receive()
    assert [(call.caller, call.path) for call in probe.calls] == [("worker-3", "/test.Probe/Echo")]


async def test_messages_of_megabytes_pass(network: AnyNetwork, probe: Probe) -> None:
    large = bytes(range(256)) * (3 << 12)
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="client") as channel,
        channel.stream("/test.Probe/Echo", bytes) as stream,
    ):
        for _ in range(3):
            await stream.send(large)
            assert await stream.receive() == large


async def test_a_message_above_the_limit_is_refused_where_it_is_sent(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(ProtocolError, match="8388609 bytes is above the limit of 8388608 bytes"):
            await channel.unary("/test.Probe/Upper", bytes((8 << 20) + 1), bytes)


async def test_many_calls_at_once_get_their_own_answers(network: AnyNetwork, probe: Probe) -> None:
    answers: dict[int, bytes] = {}
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:

        async def ask(number: int) -> None:
            answers[number] = await channel.unary("/test.Probe/Upper", b"n%d" % number, bytes)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
    assert answers == {number: b"N%d" % number for number in range(100)}


async def test_thirty_idle_streams_do_not_hinder_a_new_call(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        async with trio.open_nursery() as nursery:

            async def subscribe(task_status: trio.TaskStatus[None]) -> None:
                async with channel.stream("/test.Probe/Echo", bytes) as stream:
                    await stream.send(b"here")
                    await stream.receive()
                    task_status.started()
                    await stream.receive()

            for _ in range(30):
                await nursery.start(subscribe)
            with trio.fail_after(HANG_SECONDS):
                assert await channel.unary("/test.Probe/Upper", b"still", bytes) == b"STILL"
            nursery.cancel_scope.cancel()


async def test_a_handler_crash_reaches_its_caller_and_nobody_else(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(CallFailed, match=r"/test.Probe/CrashUnary at .*: INTERNAL: ValueError: boom"):
            await channel.unary("/test.Probe/CrashUnary", b"", bytes)
        async with channel.stream("/test.Probe/Crash", bytes) as stream:
            assert await stream.receive() == b"before"
            with pytest.raises(CallFailed, match="ValueError: boom"):
                await stream.receive()
            with pytest.raises(CallFailed, match="ValueError: boom"):
                await stream.send(b"anyone?")
        assert await channel.unary("/test.Probe/Upper", b"alive", bytes) == b"ALIVE"
    assert [(failure.path, failure.caller, str(failure.error)) for failure in probe.failures] == [
        ("/test.Probe/CrashUnary", "client", "boom"),
        ("/test.Probe/Crash", "client", "boom"),
    ]


async def test_of_a_group_the_caller_is_told_the_first_cause(network: AnyNetwork, probe: Probe) -> None:
    async with (
        probe.serve(network) as server,
        network.connect(server.address, name="client") as channel,
        channel.stream("/test.Probe/Group", bytes) as stream,
    ):
        with pytest.raises(CallFailed, match="KeyError: 'first'"):
            await stream.receive()


@pytest.mark.parametrize(("method", "kind"), [("Stale", StaleGeneration), ("Aborted", Aborted)])
async def test_what_the_protocol_means_crosses_as_itself(
    network: AnyNetwork, probe: Probe, method: str, kind: type[Exception]
) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(kind) as caught:
            await channel.unary(f"/test.Probe/{method}", b"", bytes)
    assert str(caught.value) in {"generation 3 is over: join again", "worker 1 died"}


async def test_bytes_of_another_type_are_refused_by_both_sides(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        async with channel.stream("/test.Typed/Count", Int64Value) as stream:
            await stream.send(b"\xff\xff\xff")
            with pytest.raises(CallFailed, match="3 bytes that are not a StringValue"):
                await stream.receive()
        with pytest.raises(ProtocolError, match="are not a Int64Value: both sides must run the same version"):
            await channel.unary("/test.Probe/Upper", b"\xff\xff\xff", Int64Value)


async def test_an_unknown_method_is_named(network: AnyNetwork, probe: Probe) -> None:
    async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
        with pytest.raises(CallFailed, match=r"/test.Probe/Nope at .*: no such method there") as caught:
            await channel.unary("/test.Probe/Nope", b"", bytes)
    assert caught.value.status.code == "UNIMPLEMENTED"


async def test_a_failure_of_the_body_leaves_a_server_bare(network: AnyNetwork, probe: Probe) -> None:
    async def fail_while_serving() -> None:
        async with probe.serve(network) as server, network.connect(server.address, name="client") as channel:
            await channel.unary("/test.Probe/Upper", b"x", bytes)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_while_serving()
