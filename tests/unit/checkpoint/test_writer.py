from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from runtime.actors.actor import ActorFn, Context
from runtime.actors.mailbox import Mailbox
from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.reader import load, verify
from runtime.checkpoint.retention import Keeping
from runtime.checkpoint.shares import Share
from runtime.checkpoint.writer import (
    MAILBOX_CAPACITY,
    Saved,
    SealCheckpoint,
    ShareSaved,
    WriteCheckpoint,
    WriterOrder,
    checkpoint_writer,
)
from runtime.errors import ActorDown, MailboxFull
from runtime.events import CheckpointFailed, CheckpointRemoved, CheckpointWritten, Warned
from runtime.ids import Step
from tests.unit.checkpoint.worlds import PROVENANCE, snapshot

GUARD_SECONDS = 60
KEEP_BY_DEFAULT = Keeping()


def order(step: int, **metrics: float) -> WriteCheckpoint:
    return WriteCheckpoint(snapshot(step), PROVENANCE, {f"eval/{name}": value for name, value in metrics.items()})


def desk(root: Path, keeping: Keeping = KEEP_BY_DEFAULT) -> tuple[Context[WriterOrder], list[object], ActorFn]:
    """A writer that was not started yet, and what it says."""
    said: list[object] = []
    ctx = Context("run/worker-0/writer", inbox=Mailbox[WriterOrder](MAILBOX_CAPACITY), emit=said.append)
    return ctx, said, checkpoint_writer(root, keeping)


def outcomes(said: list[object]) -> list[CheckpointWritten | CheckpointFailed]:
    """What became of each attempt."""
    return [each.fact for each in said if isinstance(each, Saved)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_orders_become_checkpoints_and_each_is_said(tmp_path: Path) -> None:
    ctx, said, writer = desk(tmp_path / "checkpoints")
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            for step in (1, 2):
                await ctx.inbox.put(order(step, loss=0.5))
            ctx.ask_stop()
    assert ctx.is_ready
    assert [type(event) for event in outcomes(said)] == [CheckpointWritten, CheckpointWritten]
    for event in outcomes(said):
        assert isinstance(event, CheckpointWritten)
        manifest = verify(tmp_path / event.path)
        assert event.path == f"checkpoints/step-{event.step:08d}"
        assert (event.parameter_hash, event.size_bytes) == (manifest.parameter_hash, manifest.size_bytes)
        assert manifest.metrics == {"eval/loss": 0.5}


async def test_asked_to_stop_it_writes_what_it_was_given_and_takes_no_more(tmp_path: Path) -> None:
    ctx, said, writer = desk(tmp_path)
    ctx.inbox.try_put(order(1))
    ctx.ask_stop()
    with pytest.raises(ActorDown):
        ctx.inbox.try_put(order(2))
    with trio.fail_after(GUARD_SECONDS):
        await writer(ctx)
    assert [event.step for event in outcomes(said)] == [1]
    assert verify(tmp_path / "step-00000001").step == 1


async def test_a_full_mailbox_says_so_at_once(tmp_path: Path) -> None:
    ctx, _, _ = desk(tmp_path)
    for step in range(MAILBOX_CAPACITY):
        ctx.inbox.try_put(order(step))
    with pytest.raises(MailboxFull):
        ctx.inbox.try_put(order(9))


async def test_a_disk_that_refuses_is_said_and_the_next_checkpoint_is_written(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    root.write_text("a file stands where the folder should be")
    ctx, said, writer = desk(root)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            await ctx.inbox.put(order(1))
            await ctx.inbox.put(order(2))  # there is room for it only once the first one was taken up
            await ctx.inbox.put(order(3))  # ... and for this one once the first one has failed
            root.unlink(missing_ok=True)
            ctx.ask_stop()
    first, *_, last = outcomes(said)
    assert isinstance(first, CheckpointFailed)
    assert first.step == 1
    assert "cannot save step 1" in first.reason
    assert isinstance(last, CheckpointWritten)
    assert last.step == 3


async def test_retention_follows_each_success(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    ctx, said, writer = desk(root, Keeping(keep_last=1, keep_best=1))
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            for step, loss in ((1, 0.9), (2, 0.1), (3, 0.5)):
                await ctx.inbox.put(order(step, loss=loss))
            ctx.ask_stop()
    assert [event for event in said if isinstance(event, CheckpointRemoved)] == [
        CheckpointRemoved(step=Step(1), path="checkpoints/step-00000001"),
    ]
    assert names(root) == ["LATEST", "step-00000002", "step-00000003"]


async def test_if_old_ones_cannot_be_deleted_a_person_is_told_and_writing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "step-00000001.removed").write_text("a file stands in the way of the renaming")
    ctx, said, writer = desk(tmp_path, Keeping(keep_last=1, keep_best=0))
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            for step in (1, 2, 3):
                await ctx.inbox.put(order(step))
            ctx.ask_stop()
    assert [event.step for event in outcomes(said)] == [1, 2, 3]
    assert [event.step for event in said if isinstance(event, CheckpointRemoved)] == [2]
    warnings = [event.text for event in said if isinstance(event, Warned)]
    assert len(warnings) == 2
    assert "could not be deleted" in warnings[0]


async def test_a_cancelled_writer_finishes_the_one_in_hand_and_answers_the_rest(tmp_path: Path) -> None:
    ctx, said, writer = desk(tmp_path)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            await ctx.inbox.put(order(1))
            await ctx.inbox.put(order(2))  # taken into the mailbox: the writer holds the first
            nursery.cancel_scope.cancel()
    written, stopped = outcomes(said)
    assert (written.step, stopped.step) == (1, 2)
    assert isinstance(written, CheckpointWritten)
    assert isinstance(stopped, CheckpointFailed)
    assert "stopped before" in stopped.reason
    assert verify(tmp_path / "step-00000001").step == 1
    assert names(tmp_path) == ["LATEST", "step-00000001"]


HALVES = (
    Share({"model.layers.0.weight"}, {"v.model.layers.0.weight"}),
    Share({"model.layers.0.bias"}, {"m.model.layers.0.weight"}),
)


def half(step: int, share: int, attempt: str = "1-1") -> WriteCheckpoint:
    return WriteCheckpoint(HALVES[share].of(snapshot(step)), PROVENANCE, {}, attempt=attempt, share=share, shares=2)


async def until(holds: Callable[[], bool]) -> None:
    """Let the others run until it holds."""
    while not holds():
        await trio.lowlevel.checkpoint()


async def drained(root: Path, *orders: WriterOrder) -> list[object]:
    """What a writer says to these orders, given one after another."""
    ctx, said, writer = desk(root)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            for each in orders:
                await ctx.inbox.put(each)
            ctx.ask_stop()
    return said


async def test_two_writers_write_a_half_each_and_the_first_one_seals(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    (second,) = await drained(root, half(7, 1))
    assert isinstance(second, ShareSaved)
    assert (second.step, second.attempt, second.shares) == (7, "1-1", 2)
    assert names(root) == ["step-00000007.1-1.tmp"]
    ctx, said, writer = desk(root)
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer, ctx)
            await ctx.inbox.put(half(7, 0))
            await until(lambda: bool(said))
            (first,) = said
            assert isinstance(first, ShareSaved)
            await ctx.inbox.put(SealCheckpoint(Step(7), "1-1", (first.files, second.files)))
            ctx.ask_stop()
    manifest = verify(root / "step-00000007")
    assert [file.name for file in manifest.files] == [
        "parameters-0.safetensors", "optimizer-0.safetensors", "parameters-1.safetensors", "optimizer-1.safetensors"
    ]  # fmt: skip
    (whole,) = outcomes(said)
    assert isinstance(whole, CheckpointWritten)
    assert (whole.path, whole.size_bytes) == ("checkpoints/step-00000007", manifest.size_bytes)
    assert parameter_hash(load(root / "step-00000007").parameters) == parameter_hash(snapshot(7).parameters)
    assert whole.parameter_hash == parameter_hash(snapshot(7).parameters)
    assert names(root) == ["LATEST", "step-00000007"]


async def test_a_writer_seals_only_what_it_began_itself(tmp_path: Path) -> None:
    said = await drained(tmp_path, half(7, 0), half(8, 0, "1-2"), SealCheckpoint(Step(7), "1-1", ()))
    failed = outcomes(said)[-1]
    assert isinstance(failed, CheckpointFailed)
    assert failed.reason == "cannot save step 7: another checkpoint was begun meanwhile"


async def test_shares_that_do_not_add_up_are_not_sealed(tmp_path: Path) -> None:
    (share,) = await drained(tmp_path, half(7, 0))
    assert isinstance(share, ShareSaved)
    said = await drained(tmp_path, half(7, 0), SealCheckpoint(Step(7), "1-1", (share.files, share.files)))
    assert [str(failed) for failed in outcomes(said)] == [
        str(CheckpointFailed(Step(7), "cannot save step 7: two files have the same name"))
    ]
    assert names(tmp_path) == []
