"""Contexts, exits and the log of a child, without any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from runtime.actors import Context, Exit, ProcessExit, root_cause
from runtime.actors.log import LogDrain
from runtime.errors import ActorDown, GaveUp


async def test_only_the_first_ready_counts() -> None:
    values: list[object] = []
    ctx: Context[str] = Context("run/a", 3, on_ready=values.append)
    assert not ctx.is_ready
    ctx.ready("first")
    ctx.ready("second")
    assert (values, ctx.is_ready, ctx.incarnation) == (["first"], True, 3)


async def test_progress_and_events_go_out_and_nobody_need_listen() -> None:
    heard: list[Any] = []
    ctx: Context[str] = Context("run/a", emit=heard.append, on_progress=heard.append)
    ctx.progress(7)
    ctx.emit("fact")
    assert heard == [7, "fact"]
    quiet: Context[str] = Context("run/b")
    quiet.ready()
    quiet.emit("fact")
    quiet.progress(1)


async def test_a_request_to_stop_sets_the_event_and_seals_the_inbox() -> None:
    ctx: Context[str] = Context("run/a")
    ctx.inbox.try_put("last")
    ctx.ask_stop()
    assert ctx.stopping.is_set()
    assert [message async for message in ctx.inbox] == ["last"]
    with pytest.raises(ActorDown):
        ctx.inbox.try_put("late")


def test_the_cause_of_a_group_is_its_first_error() -> None:
    first = ValueError("first")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [first]), KeyError("second")])
    assert root_cause(group) is first
    assert root_cause(first) is first


def test_an_interrupt_explains_a_group_better_than_an_error() -> None:
    interrupt = KeyboardInterrupt()
    assert root_cause(BaseExceptionGroup("", [ValueError(), interrupt])) is interrupt


async def test_a_cancel_explains_nothing() -> None:
    async def fail() -> None:
        raise ValueError("the cause")

    async def fail_together() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    with pytest.raises(ExceptionGroup) as caught:
        await fail_together()
    assert str(root_cause(caught.value)) == "the cause"


def raised(error: Exception) -> Exception:
    """The error with the traceback of having been raised."""

    def throw() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        throw()
    return caught.value


def test_an_exit_tells_its_kind_in_words() -> None:
    assert Exit.normal() == Exit(ok=True, kind="normal", detail="finished")
    assert Exit.killed("cancelled", "tail").tail == "tail"
    error = Exit.of(raised(ValueError("bad shape")))
    assert (error.kind, error.detail, error.ok) == ("error", "ValueError: bad shape", False)
    assert "in throw" in error.tail
    assert Exit.of(ValueError()).detail == "ValueError"
    assert Exit.of(KeyboardInterrupt()).kind == "interrupted"
    assert Exit.of(ProcessExit("exit code 3", code=3, tail="words")).tail == "words"
    given_up = Exit.of(GaveUp("run/a failed", path="run/a", tail="words"))
    assert (given_up.kind, given_up.detail, given_up.tail) == ("gave_up", "run/a failed", "words")


def test_the_tail_of_a_long_traceback_is_bounded() -> None:
    assert len(Exit.of(raised(ValueError("x" * 100_000))).tail) == 16 * 1024


async def test_a_log_keeps_everything_and_its_tail_the_end(tmp_path: Path, nursery: trio.Nursery) -> None:
    log = LogDrain(tmp_path / "new" / "child.log", tail_bytes=10)
    for text in (b"first\n", b"second\n"):
        ours, theirs = memory_stream_pair()
        nursery.start_soon(log.run, theirs)
        await ours.send_all(text)
        await ours.aclose()
        while not log.tail.endswith(text.decode()):
            await trio.lowlevel.checkpoint()
    nursery.cancel_scope.cancel()
    assert log.tail == "st\nsecond\n"


async def test_a_log_that_cannot_be_written_says_so_and_goes_on(tmp_path: Path) -> None:
    log = LogDrain(tmp_path)
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"one")
    await ours.send_eof()
    await log.run(theirs)
    assert log.problem == f"the log {tmp_path} is incomplete: Is a directory"
    assert log.tail == f"one\n[{log.problem}]"
