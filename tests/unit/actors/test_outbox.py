"""The outbox: in the pipe at once, or kept in order while the reader is slow."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.actors import Beat, Fact, FrameDecoder, FrameError
from runtime.actors.frames import Frame
from runtime.actors.outbox import Outbox
from runtime.errors import ActorDown, MailboxFull


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:  # the test closed it
            continue


def fact(n: int, pad: int = 0) -> Fact:
    return Fact({"n": n, "pad": "x" * pad})


def read_all(reader: int, decoder: FrameDecoder) -> list[Frame]:
    frames: list[Frame] = []
    while True:
        try:
            frames += decoder.feed(os.read(reader, 1 << 20))
        except BlockingIOError:
            return frames


def fill(outbox: Outbox) -> int:
    """Put facts until the pipe is full and one of them waits; returns how many."""
    count = 0
    while outbox._emptied.is_set():
        outbox.put(fact(count, pad=3000))
        count += 1
    return count


async def test_a_frame_is_in_the_pipe_when_put_returns(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    outbox.put(fact(1))
    assert read_all(pipe[0], FrameDecoder()) == [fact(1)]
    await outbox.flush()
    outbox.close()


async def test_a_full_pipe_keeps_the_rest_in_order_and_flush_waits_for_it(
    pipe: tuple[int, int], nursery: trio.Nursery
) -> None:
    outbox = Outbox(pipe[1])
    nursery.start_soon(outbox.run)
    count = fill(outbox)
    outbox.put(fact(count))
    flushed = trio.Event()

    async def flush() -> None:
        await outbox.flush()
        flushed.set()

    nursery.start_soon(flush)
    await wait_all_tasks_blocked()
    assert not flushed.is_set()
    decoder = FrameDecoder()
    frames = read_all(pipe[0], decoder)
    await flushed.wait()
    frames += read_all(pipe[0], decoder)
    assert [frame.event["n"] for frame in frames if isinstance(frame, Fact)] == list(range(count + 1))
    outbox.put(fact(7))
    await outbox.flush()
    second = fill(outbox)  # the writer task wakes a second time
    await wait_all_tasks_blocked()
    got = len(read_all(pipe[0], decoder))
    await outbox.flush()
    assert got + len(read_all(pipe[0], decoder)) == second + 1
    nursery.cancel_scope.cancel()
    outbox.close()


async def test_a_full_outbox_refuses_facts_and_drops_beats(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1], capacity=2)
    fill(outbox)
    outbox.put(fact(1))
    outbox.put(fact(2))
    with pytest.raises(MailboxFull, match="2 frames wait already"):
        outbox.put(fact(3))
    outbox.put(Beat(1, "dropped"))
    assert len(outbox._waiting) == 2
    outbox.close()


async def test_only_the_newest_beat_waits(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    fill(outbox)
    outbox.put(fact(1))
    for step in range(100):
        outbox.put(Beat(step, "train"))
    outbox.put(fact(2))
    assert len(outbox._waiting) == 3
    outbox.close()


async def test_a_reader_that_went_away_is_noticed(pipe: tuple[int, int], nursery: trio.Nursery) -> None:
    outbox = Outbox(pipe[1])
    nursery.start_soon(outbox.run)
    fill(outbox)
    await wait_all_tasks_blocked()
    os.close(pipe[0])
    with pytest.raises(ActorDown, match="other end of the frame pipe is closed"):
        await outbox.flush()
    with pytest.raises(ActorDown, match="other end of the frame pipe is closed"):
        outbox.put(fact(1))
    outbox.close()


async def test_what_is_no_frame_is_refused_and_harms_nothing(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    with pytest.raises(FrameError):
        outbox.put(Fact({"ranks": {1}}))
    outbox.put(fact(1))
    assert read_all(pipe[0], FrameDecoder()) == [fact(1)]
    outbox.close()
