"""The monitor's service over the in-memory network, under a virtual clock."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mlxd_wire import monitor_pb2 as pb
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.app.monitor import PROTOCOL, Monitor, next_turn, wanted_of
from runtime.app.watching.sampling import Sampler, cpu_seconds, from_proc, from_ps
from runtime.errors import ProtocolError
from runtime.events import Envelope, Event, Warned
from runtime.events.journal import encode_line
from runtime.ids import ActorPath
from runtime.rpc import LoopbackNetwork
from runtime.rpc.network import Channel
from runtime.rpc.service import Stream
from runtime.view.codec import decode
from runtime.view.gauges import Beat
from tests.unit.view.told import begun, commit, steps

RUN_TOPIC = pb.Want(topics=["run"], metrics=["loss"], events=True)


class Written:
    """A run's folder whose journal grows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seq = folder, 0
        (folder / "logs").mkdir()

    def add(self, *facts: Event) -> None:
        with (self.folder / "events.jsonl").open("ab") as file:
            for fact in facts:
                self.seq += 1
                file.write(encode_line(Envelope(self.seq, 1000.0 + self.seq, ActorPath("run"), fact)))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Monitor, Channel]]:
    monitor, network = Monitor(folder, 7), LoopbackNetwork()
    async with network.serve([monitor.service], "127.0.0.1:0", name="monitor") as server:
        async with network.connect(server.address, name="console") as channel, trio.open_nursery() as nursery:
            nursery.start_soon(monitor.run)
            yield monitor, channel
            nursery.cancel_scope.cancel()


async def test_a_reader_gets_the_picture_then_what_changes_then_heartbeats(
    written: Written, autojump_clock: MockClock
) -> None:
    written.add(*begun(), *steps(1, 3))
    async with serving(written.folder) as (_, channel), channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stream:
        await stream.send(RUN_TOPIC)
        first = await stream.receive()
        assert first is not None
        assert (first.is_whole, decode_step(first), first.pieces[0].is_whole) == (True, 3, True)
        assert len(first.events) > 0
        written.add(commit(4), Warned("disk", "slow"))
        second = await with_rows(stream)
        assert (second.is_whole, decode_step(second)) == (False, 4)
        assert [b'"Warned"' in line for line in second.events] == [True]
        began = trio.current_time()
        third = await stream.receive()
        assert third is not None
        assert (len(third.rows), len(third.events)) == (0, 0)
        assert trio.current_time() - began == pytest.approx(1.0)


async def test_the_first_frame_is_of_now_however_short_ago_the_last_look_was(
    written: Written, autojump_clock: MockClock
) -> None:
    written.add(*begun(), *steps(1, 3))
    async with serving(written.folder) as (_, channel):
        await wait_all_tasks_blocked()
        written.add(commit(4))
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stream:
            await stream.send(RUN_TOPIC)
            first = await stream.receive()
    assert first is not None
    assert decode_step(first) == 4


async def test_readers_of_one_pace_hear_the_news_together_however_late_they_came(
    written: Written, autojump_clock: MockClock
) -> None:
    written.add(*begun())
    heard: list[float] = []

    async def read(channel: Channel, late_seconds: float) -> None:
        await trio.sleep(late_seconds)
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stream:
            await stream.send(RUN_TOPIC)
            for step in range(1, 8):
                await with_rows(stream)
                written.add(commit(step))
            heard.append(trio.current_time())

    async with serving(written.folder) as (_, channel), trio.open_nursery() as nursery:
        for late_seconds in (0.0, 0.1, 0.3, 0.45):
            nursery.start_soon(read, channel, late_seconds)
    assert max(heard) - min(heard) < 0.01


@pytest.mark.parametrize(
    ("now", "interval", "then"), [(10.0, 1.0, 11.0), (10.4, 1.0, 11.0), (10.6, 1.0, 12.0), (10.1, 0.25, 10.25)]
)
def test_a_turn_is_half_an_interval_away_at_least(now: float, interval: float, then: float) -> None:
    assert next_turn(now, interval) == then


async def test_a_reader_may_change_its_mind_and_leave(written: Written, autojump_clock: MockClock) -> None:
    written.add(*begun(), *steps(1, 3))
    async with serving(written.folder) as (_, channel):
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stream:
            await stream.send(pb.Want(topics=["workers"], max_hz=4.0))
            first = await stream.receive()
            assert first is not None
            assert {row.topic for row in first.rows} == {"workers"}
            await stream.send(pb.Want(topics=["nodes"], max_hz=4.0))
            frame = await stream.receive()
            assert frame is not None
            assert {row.topic for row in frame.rows} == {"nodes"}
            stream.done_sending()
            assert await stream.receive() is None
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as silent:
            silent.done_sending()
            assert await silent.receive() is None


async def test_a_reader_that_does_not_read_is_waited_for_by_nobody(written: Written, autojump_clock: MockClock) -> None:
    written.add(*begun())
    want = pb.Want(topics=["run"], max_hz=10.0)
    async with serving(written.folder) as (_, channel):
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stalled:
            await stalled.send(want)
            async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as quick:
                await quick.send(want)
                for step in range(1, 60):
                    written.add(commit(step))
                    while decode_step(await with_rows(quick)) < step:
                        pass
            seen = [frame for _ in range(30) if (frame := await stalled.receive()) is not None]
    assert decode_step([frame for frame in seen if frame.rows][-1]) == 59
    assert sum(bool(frame.rows) for frame in seen) < 25, "what it did not take was put together"


async def with_rows(stream: Stream[pb.Want, pb.Frame]) -> pb.Frame:
    """The next frame that says more than that the monitor lives."""
    async for frame in stream:
        if frame.rows:
            return frame
    raise AssertionError("the monitor has ended the stream")


def decode_step(frame: pb.Frame) -> int:
    card = decode("run", frame.rows[0].card)
    assert card is not None
    return int(card.step)


async def test_a_monitor_without_a_journal_waits_for_one(written: Written, autojump_clock: MockClock) -> None:
    async with serving(written.folder) as (_, channel):
        async with channel.stream("/mlxd.Monitor/Watch", pb.Frame) as stream:
            await stream.send(pb.Want(topics=["run"]))
            first = await stream.receive()
            assert first is not None
            written.add(*begun())
            assert decode_step(await with_rows(stream)) == 0
        hello = await channel.unary("/mlxd.Monitor/Hello", pb.HelloRequest(), pb.HelloReply)
    assert (hello.protocol, hello.epoch, hello.folder) == (PROTOCOL, 7, str(written.folder))


async def test_the_history_of_a_metric_is_given_within_steps(written: Written, autojump_clock: MockClock) -> None:
    written.add(*begun(), *steps(1, 40))
    async with serving(written.folder) as (monitor, channel):
        await monitor.look()
        request = pb.HistoryRequest(metrics=["loss"], first_step=10, last_step=19, max_points=5)
        reply = await channel.unary("/mlxd.Monitor/History", request, pb.HistoryReply)
    (piece,) = reply.pieces
    assert (piece.metric, piece.width, list(piece.steps)) == ("loss", 2, [11, 13, 15, 17, 19])


async def test_logs_are_told_from_the_newest_on_and_followed(written: Written, autojump_clock: MockClock) -> None:
    log = written.folder / "logs" / "worker-0.log"
    log.write_text("one\ntwo\nthree\n")
    async with serving(written.folder) as (_, channel):
        async with channel.stream("/mlxd.Monitor/Tail", pb.LogBatch) as stream:
            await stream.send(pb.LogWant(newest=2, follow=True))
            first = await stream.receive()
            assert first is not None
            assert [entry.text for entry in first.entries] == ["two", "three"]
            log.write_text("one\ntwo\nthree\nfour\n")
            second = await stream.receive()
            assert second is not None
            assert [(entry.text, entry.offset) for entry in second.entries] == [("four", 14)]
        async with channel.stream("/mlxd.Monitor/Tail", pb.LogBatch) as stream:
            await stream.send(pb.LogWant(cursor=second.cursor))
            assert await stream.receive() is None
        async with channel.stream("/mlxd.Monitor/Tail", pb.LogBatch) as stream:
            stream.done_sending()
            assert await stream.receive() is None


async def test_of_too_many_lines_at_once_the_newest_are_told(written: Written, autojump_clock: MockClock) -> None:
    (written.folder / "logs" / "a.log").write_text("".join(f"{n}\n" for n in range(2000)))
    async with serving(written.folder) as (_, channel):
        async with channel.stream("/mlxd.Monitor/Tail", pb.LogBatch) as stream:
            await stream.send(pb.LogWant())
            batch = await stream.receive()
    assert batch is not None
    assert (len(batch.entries), batch.skipped, batch.entries[-1].text) == (500, 1500, "1999")


@pytest.mark.parametrize(
    ("want", "words"), [(pb.LogWant(level="loud"), "no level"), (pb.LogWant(pattern="("), "regular")]
)
def test_a_wish_for_lines_that_makes_no_sense_is_refused(want: pb.LogWant, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        wanted_of(want)


def test_a_sample_has_this_machine_and_what_a_process_uses(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    first = sampler.sample([os.getpid()], {0: Beat(1.0, 2, "compute")})
    assert (first.quarantined, first.beats[0].phase) == (None, "compute")
    assert (first.disk_total_bytes or 0) > (first.disk_free_bytes or 0) > 0
    assert first.processes[os.getpid()].resident_bytes > 1 << 20
    assert first.processes[os.getpid()].cores is None
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "quarantine.jsonl").write_text("{}\n{}\n")
    second = sampler.sample([os.getpid()], {})
    assert (second.quarantined, sampler.sample([], {}).quarantined) == (2, 2)
    assert (second.processes[os.getpid()].cores or 0.0) >= 0.0
    assert Sampler(tmp_path / "gone").sample([], {}).disk_free_bytes is None


def test_ps_tells_the_same_as_proc_and_nothing_of_the_dead() -> None:
    told = from_ps([os.getpid(), 2**22 + 1])
    assert list(told) == [os.getpid()]
    assert told[os.getpid()][0] > 1 << 20
    assert from_ps([]) == {}
    assert from_proc([2**22 + 1]) == {}


@pytest.mark.parametrize(("text", "seconds"), [("0:01.50", 1.5), ("01:02:03", 3723.0), ("2-01:00:00", 176400.0)])
def test_cpu_times_are_read_as_ps_writes_them(text: str, seconds: float) -> None:
    assert cpu_seconds(text) == seconds
