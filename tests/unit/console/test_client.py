"""A console's ways to a run: a folder without a monitor, and connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mlxd_wire import monitor_pb2 as pb

from console.client.folder import RunFolder
from console.client.picture import Picture
from console.client.stream import RunStream, control_of, monitor_of, unless_quiet
from console.client.wire import Unreachable
from runtime.events import Envelope, Event, Warned
from runtime.events.journal import encode_line
from runtime.ids import ActorPath
from tests.unit.view.told import begun, commit, steps


def journal(folder: Path, *told: Event, first: int = 1) -> None:
    with (folder / "events.jsonl").open("ab") as file:
        for seq, fact in enumerate(told, first):
            file.write(encode_line(Envelope(seq, 1000.0 + seq, ActorPath("run"), fact)))


def test_a_folder_alone_gives_the_same_picture_and_follows(tmp_path: Path) -> None:
    journal(tmp_path, *begun(), *steps(1, 4))
    folder = RunFolder(tmp_path)
    told = folder.look()
    picture = folder.picture
    assert (picture.view.run.step, picture.liveness(0.0), folder.complaint) == (4, "replay", "")
    assert [envelope.seq for envelope in told] == [envelope.seq for envelope in picture.events]
    assert list(picture.curves["loss"].buckets) == [1, 2, 3, 4]
    changes = picture.changes
    assert (folder.look(), picture.changes) == ([], changes)
    journal(tmp_path, Warned("disk", "slow"), commit(5), first=len(begun()) + 5)
    assert [type(envelope.event) for envelope in folder.look()] == [Warned]
    assert (picture.view.run.step, picture.changes > changes) == (5, True)


def test_a_long_journal_is_taken_in_by_pieces_and_shown_when_it_is_whole(tmp_path: Path) -> None:
    facts = [*begun(), *steps(1, 9), Warned("disk", "slow")]
    journal(tmp_path, *facts)
    folder = RunFolder(tmp_path, metrics=())
    assert folder.take(len(facts) - 1)
    assert (0.9 < folder.share < 1.0, folder.picture.has_rows, len(folder.picture.events)) == (True, False, 0)
    assert (folder.take(5), folder.share) == (False, 1.0)
    assert [type(envelope.event) for envelope in folder.show()][-1] is Warned
    assert (folder.picture.view.run.step, folder.picture.curves) == (9, {})
    assert (folder.take(5), folder.show()) == (False, [])


def test_a_picture_of_a_monitor_goes_on_as_a_replay_without_a_doubled_event(tmp_path: Path) -> None:
    facts = [*begun(), Warned("disk", "slow"), Warned("net", "slow")]
    journal(tmp_path, *facts)
    picture = Picture()
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    picture.take(pb.Frame(epoch=1, is_whole=True, events=lines[-2:-1]), 1.0, 1.0)
    RunFolder(tmp_path, picture=picture).look()
    assert [envelope.seq for envelope in picture.events] == [len(facts) - 1, len(facts)]


def test_a_folder_without_a_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RunFolder(tmp_path).look()


def test_a_run_without_a_control_socket_is_not_running(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="not running"):
        control_of(tmp_path)
    (tmp_path / "control.sock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unreachable, match="not running"):
        asyncio.run(reached(tmp_path))


async def reached(folder: Path) -> str:
    return await monitor_of(folder)()


def test_a_stream_that_says_nothing_is_broken() -> None:
    async def silent() -> AsyncIterator[pb.Frame]:
        yield pb.Frame(epoch=3)
        await asyncio.Event().wait()

    async def listen() -> list[int]:
        return [frame.epoch async for frame in unless_quiet(silent(), 0.01)]

    with pytest.raises(Unreachable, match=r"has said nothing for 0\.01 s"):
        asyncio.run(listen())


def test_a_stream_that_ends_ends() -> None:
    async def ended() -> AsyncIterator[pb.Frame]:
        yield pb.Frame(epoch=3)

    async def listen() -> list[int]:
        return [frame.epoch async for frame in unless_quiet(ended(), 60.0)]

    assert asyncio.run(listen()) == [3]


def test_who_cannot_be_reached_is_asked_again_and_the_trouble_is_told() -> None:
    asked = 0
    enough = asyncio.Event()

    async def where() -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            enough.set()
        raise Unreachable(f"nobody there, try {asked}")

    async def watch() -> RunStream:
        stream = RunStream(where, pb.Want())
        task = asyncio.create_task(stream.run(lambda picture, fresh: None))
        await enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return stream

    stream = asyncio.run(watch())
    assert stream.trouble.startswith("nobody there, try ")
    assert (stream.connections, stream.picture.has_rows) == (0, False)
