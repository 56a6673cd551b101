"""The monitor as a process of its own over a journal that is there already: what its readers get, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from mlxd_wire import monitor_pb2 as pb

from console.client.picture import Picture
from console.client.stream import RunStream, log_batches, monitor_of
from console.client.wire import Unreachable
from runtime import launch
from runtime.actors import Order, ProcessSpec
from runtime.app.socket_place import MONITOR_SOCKET
from runtime.app.words import BEATS
from runtime.events import Envelope
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath
from runtime.rpc.addresses import UNIX
from runtime.supervision import Exited
from tests.integration.app.test_control import COMMITTED, JOINED, STARTED, run_folder, served
from tests.support.process_actors import Listener, Supervised

__all__ = ["run_folder"]
GUARD_SECONDS = 300.0


def recorded(folder: Path) -> None:
    """A run of two workers, of which one has joined and one step is committed; its worker has said three lines."""
    journal = Journal(folder / "events.jsonl")
    bus = journaled_bus(journal)
    for fact in (STARTED, JOINED, COMMITTED):
        bus.publish(fact, ActorPath("run"))
    journal.close()
    (folder / "logs").mkdir()
    (folder / "logs" / "worker-0.log").write_text("one\ntwo\nthree\n")


def in_time(reading: Callable[[], Awaitable[None]]) -> None:
    async def guarded() -> None:
        async with asyncio.timeout(GUARD_SECONDS):
            await reading()

    asyncio.run(guarded())


def picture_with_a_beat(address: str) -> Picture:
    """What a reader has heard when worker 0 is known to compute, and when the curve came that it asked for later."""
    stream, seen = RunStream(lambda: asyncio.sleep(0, address), pb.Want(events=True, max_hz=10.0)), asyncio.Event()

    def heard(picture: Picture, fresh: list[Envelope]) -> None:
        if picture.view.workers["0"].beat_phase == "compute":
            stream.watch(["grad_norm"])
        if "grad_norm" in picture.curves:
            seen.set()

    async def read() -> None:
        task = asyncio.create_task(stream.run(heard))
        await seen.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    in_time(read)
    return stream.picture


def last_lines(address: str) -> list[str]:
    told: list[str] = []

    async def read() -> None:
        batches = log_batches(address, pb.LogWant(newest=2), {})
        told.extend(entry.text for entry in (await anext(batches)).entries)
        await batches.aclose()  # type: ignore[attr-defined]  # a generator, which its type does not say

    in_time(read)
    return told


async def test_readers_get_rows_beats_and_lines_and_the_process_ends_when_it_is_told(run_folder: Path) -> None:
    recorded(run_folder)
    command = launch.command("runtime.app.monitor", "--run-folder", str(run_folder))
    spec = ProcessSpec(command, run_folder / "monitor.log", term_after_seconds=GUARD_SECONDS)
    listener = Listener()
    monitor = Supervised(spec, listener)
    async with monitor.running():
        address = f"{UNIX}{run_folder / MONITOR_SOCKET}"
        await monitor.address.ref.tell(Order(BEATS, {"0": [0.5, 4, "compute"]}))
        picture = await trio.to_thread.run_sync(picture_with_a_beat, address)
        assert picture.view.run.step == 4
        assert list(picture.curves) == ["grad_norm"]
        assert {"loss", "axis/tokens"} <= set(picture.metrics)
        assert [type(envelope.event) for envelope in picture.events] == [type(STARTED), type(JOINED)]
        assert await trio.to_thread.run_sync(last_lines, address) == ["two", "three"]
    (end,) = listener.all(Exited)
    assert end.exit.kind == "normal", end
    assert not (run_folder / MONITOR_SOCKET).exists()


async def test_a_run_that_is_over_opens_no_monitor_and_says_so(run_folder: Path) -> None:
    async with served(run_folder) as root:
        root.outcome = "done"
        with pytest.raises(Unreachable, match="just beginning or ending; its journal has what there is"):
            await trio.to_thread.run_sync(lambda: asyncio.run(_opened(run_folder)))
        root.outcome = ""


async def _opened(folder: Path) -> str:
    return await monitor_of(folder)()
