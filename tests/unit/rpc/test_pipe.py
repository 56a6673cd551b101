"""The pipe of one direction: order, bounds and ends."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.rpc.pipe import LocalDoorbell, Pipe


def pipe_of(max_messages: int = 3, max_bytes: int = 100) -> Pipe:
    return Pipe(room=LocalDoorbell(), news=LocalDoorbell(), max_messages=max_messages, max_bytes=max_bytes)


@pytest.mark.parametrize(("size_bytes", "fits"), [(1, 3), (40, 3), (60, 2), (100, 1), (5000, 1)])
async def test_a_full_pipe_holds_its_producer_up(size_bytes: int, fits: int) -> None:
    pipe, put = pipe_of(), 0

    async def produce() -> None:
        nonlocal put
        while True:
            await pipe.put(bytes(size_bytes))
            put += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        await wait_all_tasks_blocked()
        assert put == fits
        for taken in range(1, 5):
            await pipe.get()
            await wait_all_tasks_blocked()
            assert put == fits + taken
        nursery.cancel_scope.cancel()


async def test_a_closed_pipe_hands_out_what_it_holds_and_then_its_end_for_ever() -> None:
    pipe = pipe_of()
    await pipe.put(b"one")
    await pipe.put(b"two")
    pipe.close()
    pipe.close(ValueError("only the first end counts"))
    assert [await pipe.get() for _ in range(4)] == [b"one", b"two", None, None]


async def test_an_error_at_the_end_is_raised_after_the_messages_before_it() -> None:
    pipe = pipe_of()
    await pipe.put(b"one")
    pipe.close(ValueError("broken"))
    assert await pipe.get() == b"one"
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await pipe.get()


async def test_a_refused_pipe_wakes_a_waiting_producer_with_the_reason() -> None:
    pipe = pipe_of(max_messages=1)
    await pipe.put(b"fills it")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_refusal, pipe)
        await wait_all_tasks_blocked()
        pipe.refuse(KeyError("nobody reads"))
    pipe.refuse(ValueError("only the first reason counts"))
    await expect_refusal(pipe)


async def test_a_cancelled_consumer_loses_no_message() -> None:
    pipe = pipe_of()
    with trio.move_on_after(0):
        await pipe.get()
    await pipe.put(b"kept")
    assert await pipe.get() == b"kept"


async def expect_refusal(pipe: Pipe) -> None:
    with pytest.raises(KeyError, match="nobody reads"):
        await pipe.put(b"more")
