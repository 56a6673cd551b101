"""A console that stops reading its socket: nobody waits for it, and it is told what it missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio
from mlxd_wire import monitor_pb2 as pb

from console.client.picture import Picture
from console.client.stream import RunStream
from runtime import launch
from runtime.actors import ProcessSpec
from runtime.app.socket_place import MONITOR_SOCKET
from runtime.app.watching.board import MOST_EVENTS
from runtime.events import Envelope, Warned
from runtime.events.journal import Journal
from runtime.ids import ActorPath
from runtime.rpc.addresses import UNIX
from tests.integration.app.test_control import STARTED, run_folder
from tests.integration.app.test_monitor_process import GUARD_SECONDS, in_time
from tests.support.process_actors import Listener, Supervised

__all__ = ["run_folder"]
AT_ONCE, TIMES = 2000, 3
"""Together more events than the monitor keeps for those who come late."""
TEXT = "x" * 2000
WANT = pb.Want(events=True, max_hz=10.0)


def happen(journal: Journal, times: int) -> int:
    """So many events, of two kilobytes each; returns the number of the last."""
    for seq in range(journal.next_seq, journal.next_seq + times):
        journal.write(Envelope(seq, 1000.0 + seq, ActorPath("run"), Warned(f"place {seq}", TEXT)))
        journal.next_seq = seq + 1
    return journal.next_seq - 1


@asynccontextmanager
async def on_the_way(address: Path, way: Path, flows: asyncio.Event) -> AsyncIterator[None]:
    """A socket `way` that leads to another one; nobody reads from that one while it does not flow."""

    async def forwarded(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def withheld(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await flows.wait() and (data := await source.read(1 << 16)):
                sink.write(data)
                await sink.drain()
        sink.close()

    connections = list[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(address)
        try:
            await asyncio.gather(forwarded(reader, far_writer), withheld(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                end.transport.abort()

    def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(connected(reader, writer)))

    server = await asyncio.start_unix_server(connect, way)
    try:
        yield
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def told_to_both(socket: Path, journal: Journal) -> tuple[Picture, Picture]:
    """What a reader knows that always reads, and one whose socket nobody reads until the other knows all."""
    way = socket.with_name("way.sock")
    stalled, quick = (RunStream(partial(asyncio.sleep, 0, f"{UNIX}{path}"), WANT) for path in (way, socket))
    flows, news = asyncio.Event(), asyncio.Event()
    flows.set()
    async with on_the_way(socket, way, flows):
        reading = [asyncio.create_task(each.run(lambda picture, fresh: news.set())) for each in (stalled, quick)]
        last = 1
        for number in range(TIMES + 1):
            while min(each.picture.event_seq for each in ([stalled, quick] if number == 0 else [quick])) < last:
                await news.wait()
                news.clear()
            flows.clear()
            last = happen(journal, AT_ONCE) if number < TIMES else last
        flows.set()
        while stalled.picture.event_seq < last:
            await news.wait()
            news.clear()
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
    return quick.picture, stalled.picture


async def test_who_stops_reading_holds_nobody_up_and_is_told_how_much_it_missed(run_folder: Path) -> None:
    assert AT_ONCE < MOST_EVENTS < AT_ONCE * TIMES
    journal = Journal(run_folder / "events.jsonl")
    journal.write(Envelope(1, 1000.0, ActorPath("run"), STARTED))
    journal.next_seq = 2
    command = launch.command("runtime.app.monitor", "--run-folder", str(run_folder))
    monitor = Supervised(ProcessSpec(command, run_folder / "monitor.log", term_after_seconds=GUARD_SECONDS), Listener())
    pictures: list[Picture] = []

    async def read() -> None:
        pictures.extend(await told_to_both(run_folder / MONITOR_SOCKET, journal))

    async with monitor.running():
        await trio.to_thread.run_sync(in_time, read)
    journal.close()
    quick, stalled = pictures
    assert (quick.dropped, quick.event_seq) == (0, journal.next_seq - 1)
    assert stalled.event_seq == quick.event_seq
    assert stalled.dropped > 0
