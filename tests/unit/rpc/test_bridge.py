"""asyncio inside trio: results, failures, cancels, timers and floods at the border."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import trio

from runtime.rpc.bridge import POLLS_PER_TURN, Bridge, CallAborted, LoopDoorbell
from runtime.rpc.pipe import LocalDoorbell, Pipe
from tests.unit.rpc.services import HANG_SECONDS


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    async with Bridge.open() as opened:
        yield opened


async def test_a_coroutine_of_the_loop_gives_its_result(bridge: Bridge) -> None:
    async def add(left: int, right: int) -> int:
        await asyncio.sleep(0)
        return left + right

    assert await bridge.run(add, 2, 3) == 5


async def test_its_exception_comes_out(bridge: Bridge) -> None:
    async def fail() -> None:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await bridge.run(fail)


async def rings(at_seconds: float) -> float:
    """Wait for a timer of the loop that is set to `at_seconds` of its clock; the clock when it rang."""
    loop = asyncio.get_running_loop()
    rang: asyncio.Future[float] = loop.create_future()
    loop.call_at(at_seconds, lambda: rang.set_result(loop.time()))
    return await rang


async def test_timers_of_the_loop_ring_in_the_order_of_their_times(bridge: Bridge) -> None:
    order: list[str] = []

    async def set_both() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.call_at(now + 0.02, order.append, "late")
        loop.call_at(now + 0.01, order.append, "early")
        await rings(now + 0.03)

    with trio.fail_after(HANG_SECONDS):
        await bridge.run(set_both)
    assert order == ["early", "late"]


async def test_a_timer_is_not_held_up_by_a_later_one_that_was_set_before(bridge: Bridge) -> None:
    with trio.fail_after(HANG_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bridge.run, rings, bridge.loop.time() + 1000 * HANG_SECONDS)
            await trio.testing.wait_all_tasks_blocked()
            due = bridge.loop.time() + 0.01
            rang = await bridge.run(rings, due)
            nursery.cancel_scope.cancel()
    assert rang >= due


async def test_a_trio_cancel_waits_until_the_coroutine_has_ended(bridge: Bridge) -> None:
    steps: list[str] = []
    scope = trio.CancelScope()

    async def tidy() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(scope.cancel)
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            await rings(loop.time() + 0.01)  # tidying takes turns of the loop
            steps.append("tidied")
            raise

    with trio.fail_after(HANG_SECONDS), scope:
        await bridge.run(tidy)
    assert scope.cancelled_caught
    assert steps == ["tidied"]


async def test_a_result_that_beats_the_cancel_is_kept(bridge: Bridge) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return "done all the same"
        raise AssertionError

    with trio.move_on_after(0.01):
        assert await bridge.run(stubborn) == "done all the same"


async def test_a_cancel_from_the_asyncio_side_is_an_exception_that_trio_can_catch(bridge: Bridge) -> None:
    async def cancelled_underneath() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CallAborted):
        await bridge.run(cancelled_underneath)


async def test_a_closed_bridge_runs_nothing_more() -> None:
    async with Bridge.open() as bridge:
        pass
    bridge.turn()  # a late message of a call that has ended
    with pytest.raises(CallAborted):
        await bridge.run(asyncio.sleep, 0)


async def test_closing_cancels_and_awaits_what_still_runs() -> None:
    ended: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    async with Bridge.open() as bridge:
        held = bridge.spawn(linger)  # asyncio holds its tasks weakly: a dropped one may be collected before the close
    assert ended == ["ended"]
    await held.aclose()


async def test_a_spawned_coroutine_that_fails_is_silent_and_over(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ValueError("reported elsewhere")

    with trio.fail_after(HANG_SECONDS):
        await bridge.spawn(fail).aclose()
    assert caplog.records == []


async def test_a_flood_of_events_leaves_turns_to_trio(bridge: Bridge) -> None:
    reading, writing = socket.socketpair()
    seen = 0

    def again() -> None:
        nonlocal seen
        seen += 1  # the socket is left readable: there is always another event

    async def watch() -> None:
        bridge.loop.add_reader(reading, again)

    async def unwatch() -> None:
        bridge.loop.remove_reader(reading)

    with reading, writing, trio.fail_after(HANG_SECONDS):
        writing.send(b"x")
        await bridge.run(watch)
        while seen <= 3 * POLLS_PER_TURN:
            await trio.lowlevel.checkpoint()
        await bridge.run(unwatch)
    assert seen > 3 * POLLS_PER_TURN


async def test_messages_pass_between_the_loops_in_both_directions(bridge: Bridge) -> None:
    out = Pipe(room=LocalDoorbell(), news=LoopDoorbell(bridge))
    back = Pipe(room=LoopDoorbell(bridge), news=LocalDoorbell())

    async def echo() -> None:
        while (message := await out.get()) is not None:
            await back.put(message)
        back.close()

    running = bridge.spawn(echo)
    received: list[bytes | None] = []

    async def receive() -> None:
        while (message := await back.get()) is not None:
            received.append(message)

    with trio.fail_after(HANG_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for number in range(300):
                await out.put(b"%d" % number)
            out.close()
        await running.aclose()
    assert received == [b"%d" % number for number in range(300)]
