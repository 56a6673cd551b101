"""Processes started ahead: they wait, they are handed out alive, they are replaced, and none is left behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.actors import Context, ProcessSpec
from runtime.actors.spare import SpareShelf
from runtime.actors.spawn import Spawned
from tests.support import processes

pytestmark = pytest.mark.slow
GUARD_SECONDS = 120.0
SLEEPER = (sys.executable, "-P", "-c", "import signal; signal.pause()")


def shelf_of(folder: Path, begin: trio.Event, *, argv: tuple[str, ...] = SLEEPER, count: int = 1) -> SpareShelf:
    return SpareShelf(ProcessSpec(argv, folder / "spare.log"), count, begin)


async def filled(shelf: SpareShelf, count: int = 1) -> None:
    while shelf.waiting < count:
        await trio.lowlevel.checkpoint()


async def end(spare: Spawned) -> None:
    spare.signal_group(signal.SIGKILL)
    await spare.process.wait()
    await spare.close()


async def test_a_spare_is_handed_out_alive_and_replaced(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    shelf = shelf_of(tmp_path, begin)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            assert shelf.take() is None
            begin.set()
            await filled(shelf)
            spare = shelf.take()
            assert spare is not None
            assert spare.process.returncode is None
            await filled(shelf)
            await end(spare)
            ctx.ask_stop()


async def test_nothing_is_started_before_it_may_begin(tmp_path: Path) -> None:
    ctx = Context[None]("spares")
    shelf = shelf_of(tmp_path, trio.Event(), argv=("/nonexistent/program",))
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            await trio.testing.wait_all_tasks_blocked()
            assert shelf.waiting == 0
            ctx.ask_stop()


async def test_a_spare_that_died_is_never_handed_out(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    begin.set()
    shelf = shelf_of(tmp_path, begin, count=2)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            await filled(shelf, 2)
            victims = [seen.pid for seen in processes.children_of(os.getpid()) if "signal.pause" in seen.command]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            while any(processes.is_alive(pid) for pid in victims):
                await trio.lowlevel.checkpoint()
            spare = shelf.take()
            assert spare is None or spare.pid not in victims
            if spare is not None:
                await end(spare)
            await filled(shelf, 1)
            ctx.ask_stop()


async def test_a_stopped_shelf_leaves_no_process(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    begin.set()
    shelf = shelf_of(tmp_path, begin, count=2)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            await filled(shelf, 2)
            ctx.ask_stop()
    assert not [seen for seen in processes.children_of(os.getpid()) if "signal.pause" in seen.command]


async def test_spares_that_keep_dying_leave_the_shelf_empty(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    begin.set()
    spec = ProcessSpec((sys.executable, "-c", "pass"), tmp_path / "spare.log")
    shelf = SpareShelf(spec, 1, begin, pause_seconds=0.0)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            await shelf.gave_up.wait()
            assert shelf.take() is None
            ctx.ask_stop()
