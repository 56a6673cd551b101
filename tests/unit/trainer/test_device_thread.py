"""The one thread that owns MLX: order, results, errors, and what cancellation may not do."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.lowlevel

from runtime.trainer.device_thread import open_device_thread

GUARD_SECONDS = 60.0


async def test_functions_run_one_after_another_on_one_thread_and_return_their_results() -> None:
    async with open_device_thread() as device:
        found = [await device.run(lambda number: (number, threading.current_thread().name), each) for each in range(3)]
    assert found == [(0, "mlx"), (1, "mlx"), (2, "mlx")]


async def test_what_a_function_raises_comes_back_and_the_thread_lives_on() -> None:
    async with open_device_thread() as device:
        with pytest.raises(ZeroDivisionError):
            await device.run(lambda: 1 // 0)
        assert await device.run(lambda: 7) == 7


async def test_trio_goes_on_while_the_device_works() -> None:
    may_end = threading.Event()
    async with open_device_thread() as device, trio.open_nursery() as nursery:
        with trio.fail_after(GUARD_SECONDS):
            nursery.start_soon(device.run, may_end.wait, GUARD_SECONDS)
            await trio.lowlevel.checkpoint()
            may_end.set()  # reached only if the loop is free
    assert may_end.is_set()


async def test_a_cancelled_caller_waits_until_the_device_is_done() -> None:
    began, may_end = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> str:
        began.set()
        assert may_end.wait(GUARD_SECONDS)
        ended.append("done")
        return "result"

    async with open_device_thread() as device:
        with trio.fail_after(GUARD_SECONDS), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await trio.to_thread.run_sync(began.wait)
                    scope.cancel()
                    may_end.set()

                nursery.start_soon(cancel)
                assert await device.run(work) == "result"
                assert ended == ["done"]
        assert scope.cancel_called


async def test_a_caller_that_is_already_cancelled_starts_nothing() -> None:
    ran: list[int] = []
    async with open_device_thread() as device:
        with trio.CancelScope() as scope:
            scope.cancel()
            await device.run(ran.append, 1)
        assert scope.cancelled_caught
    assert ran == []


async def test_the_thread_is_joined_when_the_context_ends_also_when_it_is_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with open_device_thread() as device:
            thread = await device.run(threading.current_thread)
            scope.cancel()
    assert not thread.is_alive()


async def test_an_error_of_the_context_comes_out_after_the_thread_has_ended() -> None:
    alive: list[threading.Thread] = []

    async def fails() -> None:
        async with open_device_thread() as device:
            alive.append(await device.run(threading.current_thread))
            raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await fails()
    assert not alive[0].is_alive()
