"""Processes started ahead: they wait, they are handed out alive, they are replaced, and none is left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime.actors import Beat, Context, Hello, Order, ProcessActor, ProcessSpec, Report
from runtime.actors.spare import MAX_EARLY_DEATHS, SpareShelf
from runtime.actors.spawn import Spawned
from runtime.events import SpareLost, SpareReady
from tests.support import processes
from tests.support.process_actors import Listener, process_spec

pytestmark = pytest.mark.slow
GUARD_SECONDS = 120.0
SLEEPER = (sys.executable, "-P", "-c", "import signal; signal.pause()")


def shelf_of(folder: Path, begin: trio.Event, *, argv: tuple[str, ...] = SLEEPER, count: int = 1) -> SpareShelf:
    return SpareShelf(ProcessSpec(argv, folder / "spare.log"), count, begin.wait)


async def filled(shelf: SpareShelf, count: int = 1) -> None:
    while shelf.waiting < count:
        await trio.lowlevel.checkpoint()


class Heard:
    """What a shelf emits."""

    def __init__(self) -> None:
        self.facts: list[object] = []
        self.news = trio.Event()

    def __call__(self, fact: object) -> None:
        self.facts.append(fact)
        self.news.set()

    async def first(self) -> object:
        await self.news.wait()
        return self.facts[0]


@asynccontextmanager
async def at_work(shelf: SpareShelf, ctx: Context[None]) -> AsyncIterator[trio.Nursery]:
    """The shelf runs beside the block, and is asked to stop after it."""
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shelf, ctx)
            yield nursery
            ctx.ask_stop()


async def end(spare: Spawned) -> None:
    spare.signal_group(signal.SIGKILL)
    await spare.process.wait()
    await spare.close()


async def test_a_spare_is_handed_out_alive_and_replaced(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    shelf = shelf_of(tmp_path, begin)
    async with at_work(shelf, ctx):
        assert shelf.take() is None
        begin.set()
        await filled(shelf)
        spare = shelf.take()
        assert spare is not None
        assert spare.process.returncode is None
        await filled(shelf)
        await end(spare)


async def test_a_spare_says_when_it_is_ready_and_what_it_said_is_kept_for_whoever_takes_it(tmp_path: Path) -> None:
    heard, listener = Heard(), Listener()
    ctx = Context[None]("spares", emit=heard)
    shelf = SpareShelf(process_spec("spare", tmp_path), 1, trio.lowlevel.checkpoint)
    actor = ProcessActor(process_spec("mute", tmp_path), listener, replacement=lambda _: shelf.take())
    worker = Context[Order]("worker", 2)
    async with at_work(shelf, ctx) as nursery:
        ready = await heard.first()
        assert isinstance(ready, SpareReady)
        nursery.start_soon(actor, worker)
        await listener.wait_for(Beat)
        assert listener.sources[0].pid == ready.pid
        assert [type(said) for said in listener.heard] == [Hello, Report, Beat]
        worker.ask_stop()
    assert all(isinstance(fact, SpareReady) for fact in heard.facts)


async def test_one_that_is_ready_is_taken_first(tmp_path: Path) -> None:
    heard = Heard()
    ctx = Context[None]("spares", emit=heard)
    shelf = SpareShelf(process_spec("spare", tmp_path), 2, trio.lowlevel.checkpoint)
    async with at_work(shelf, ctx):
        ready = await heard.first()
        spare = shelf.take()
        assert spare is not None
        assert isinstance(ready, SpareReady)
        assert ready.pid == spare.pid
        await end(spare)


async def test_a_spare_that_is_taken_before_it_is_ready_still_says_hello(tmp_path: Path) -> None:
    listener, ctx, worker = Listener(), Context[None]("spares"), Context[Order]("worker", 2)
    shelf = SpareShelf(process_spec("obey", tmp_path), 1, trio.lowlevel.checkpoint)
    actor = ProcessActor(process_spec("mute", tmp_path), listener, replacement=lambda _: shelf.take())
    async with at_work(shelf, ctx) as nursery:
        await filled(shelf)
        nursery.start_soon(actor, worker)
        await listener.wait_for(Beat)
        assert isinstance(listener.heard[0], Hello)
        worker.ask_stop()


async def test_nothing_is_started_before_it_may_begin(tmp_path: Path) -> None:
    ctx = Context[None]("spares")
    shelf = shelf_of(tmp_path, trio.Event(), argv=("/nonexistent/program",))
    async with at_work(shelf, ctx):
        await trio.testing.wait_all_tasks_blocked()
        assert shelf.waiting == 0


async def test_a_spare_that_died_is_never_handed_out(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    begin.set()
    shelf = shelf_of(tmp_path, begin, count=2)
    async with at_work(shelf, ctx):
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


async def test_a_stopped_shelf_leaves_no_process(tmp_path: Path) -> None:
    begin, ctx = trio.Event(), Context[None]("spares")
    begin.set()
    shelf = shelf_of(tmp_path, begin, count=2)
    async with at_work(shelf, ctx):
        await filled(shelf, 2)
    assert not [seen for seen in processes.children_of(os.getpid()) if "signal.pause" in seen.command]


async def test_spares_that_keep_dying_leave_the_shelf_empty(tmp_path: Path) -> None:
    heard = Heard()
    ctx = Context[None]("spares", emit=heard)
    spec = ProcessSpec((sys.executable, "-c", "raise SystemExit(3)"), tmp_path / "spare.log")
    shelf = SpareShelf(spec, 1, trio.lowlevel.checkpoint, pause_seconds=0.0)
    async with at_work(shelf, ctx):
        await shelf.gave_up.wait()
        assert shelf.take() is None
    assert [fact.detail for fact in heard.facts if isinstance(fact, SpareLost)] == ["exit code 3"] * MAX_EARLY_DEATHS


async def test_one_that_speaks_another_language_is_not_kept(tmp_path: Path) -> None:
    heard = Heard()
    ctx = Context[None]("spares", emit=heard)
    shelf = SpareShelf(process_spec("babble", tmp_path), 1, trio.lowlevel.checkpoint)
    async with at_work(shelf, ctx):
        lost = await heard.first()
        assert isinstance(lost, SpareLost)
        assert lost.detail == "killed by SIGKILL"
