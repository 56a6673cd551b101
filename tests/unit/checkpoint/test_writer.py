from __future__ import annotations

from pathlib import Path

import pytest
import trio

from runtime.actors.actor import Context
from runtime.actors.mailbox import Mailbox
from runtime.checkpoint.reader import verify
from runtime.checkpoint.retention import Keeping
from runtime.checkpoint.writer import MAILBOX_CAPACITY, WriteCheckpoint, checkpoint_writer
from runtime.errors import ActorDown, MailboxFull
from runtime.events import CheckpointFailed, CheckpointRemoved, CheckpointWritten, Warned
from tests.unit.checkpoint.worlds import PROVENANCE, snapshot

GUARD_SECONDS = 60
KEEP_BY_DEFAULT = Keeping()


def order(step: int, **metrics: float) -> WriteCheckpoint:
    return WriteCheckpoint(snapshot(step), PROVENANCE, {f"eval/{name}": value for name, value in metrics.items()})


def desk(root: Path, keeping: Keeping = KEEP_BY_DEFAULT) -> tuple[Context[WriteCheckpoint], list[object], object]:
    """A writer that was not started yet, and what it says."""
    said: list[object] = []
    ctx = Context("run/worker-0/writer", inbox=Mailbox[WriteCheckpoint](MAILBOX_CAPACITY), emit=said.append)
    return ctx, said, checkpoint_writer(root, keeping)


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
    assert [type(event) for event in said] == [CheckpointWritten, CheckpointWritten]
    for event in said:
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
    assert [event.step for event in said] == [1]
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
    assert isinstance(said[0], CheckpointFailed)
    assert said[0].step == 1
    assert "cannot save step 1" in said[0].reason
    assert isinstance(said[-1], CheckpointWritten)
    assert said[-1].step == 3


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
        CheckpointRemoved(step=1, path="checkpoints/step-00000001"),
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
    assert [event.step for event in said if isinstance(event, CheckpointWritten)] == [1, 2, 3]
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
    assert [event.step for event in said] == [1, 2]
    assert isinstance(said[0], CheckpointWritten)
    assert isinstance(said[1], CheckpointFailed)
    assert "stopped before" in said[1].reason
    assert verify(tmp_path / "step-00000001").step == 1
    assert names(tmp_path) == ["LATEST", "step-00000001"]
