"""The checkpoint writer: an actor that turns snapshots into checkpoints while training goes on.

Its mailbox holds one order beside the one being written (`MAILBOX_CAPACITY`): each holds a whole state in memory.
A sender that finds it full skips that checkpoint or waits; it is told by `MailboxFull`. Asked to stop, the writer
writes what it was given, and ends. A disk that refuses is a fact to publish, not a reason to die: the next may fit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from runtime.actors.actor import ActorFn, Context
from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.durable import explain
from runtime.checkpoint.layout import folder_name
from runtime.checkpoint.manifest import Manifest, Provenance
from runtime.checkpoint.retention import Keeping, prune
from runtime.errors import CheckpointError
from runtime.events import CheckpointFailed, CheckpointRemoved, CheckpointWritten, Warned
from runtime.flow import Snapshot

MAILBOX_CAPACITY = 1


@dataclass(frozen=True)
class WriteCheckpoint:
    """Save this state. Its arrays are evaluated, and never written to by anybody again."""

    snapshot: Snapshot
    provenance: Provenance
    metrics: Mapping[str, float] = field(default_factory=dict)
    pinned: bool = False


def checkpoint_writer(root: Path, keeping: Keeping) -> ActorFn:
    """The actor's body for the checkpoints folder `root` (`runs/<name>/checkpoints`).

    Emits CheckpointWritten or CheckpointFailed once for every order that it was given, and CheckpointRemoved for what
    retention deletes after each success.
    """

    async def body(ctx: Context[WriteCheckpoint]) -> None:
        ctx.ready()
        try:
            async for order in ctx.inbox:
                if await _write(ctx, root, order):
                    await _prune(ctx, root, keeping)
        finally:
            _give_up_the_rest(ctx)

    return body


async def _write(ctx: Context[WriteCheckpoint], root: Path, order: WriteCheckpoint) -> bool:
    """Write one checkpoint in a thread and publish the outcome.

    Shielded and not bounded: a thread inside fsync cannot be stopped, and half a checkpoint is worth nothing.
    """
    step = order.snapshot.step
    begun = time.monotonic()
    save = partial(write_checkpoint, order.snapshot, root, order.provenance, metrics=order.metrics, pinned=order.pinned)
    try:
        with trio.CancelScope(shield=True):
            manifest: Manifest = await trio.to_thread.run_sync(save)
    except CheckpointError as error:
        ctx.emit(CheckpointFailed(step, str(error)))
        return False
    seconds = time.monotonic() - begun
    path = f"{root.name}/{folder_name(step)}"
    ctx.emit(CheckpointWritten(step, path, manifest.size_bytes, seconds, manifest.parameter_hash))
    return True


async def _prune(ctx: Context[WriteCheckpoint], root: Path, keeping: Keeping) -> None:
    removed: list[CheckpointRemoved] = []
    clear = partial(
        prune,
        root,
        keeping,
        on_removed=lambda step, folder: removed.append(CheckpointRemoved(step, f"{root.name}/{folder.name}")),
    )
    try:
        await trio.to_thread.run_sync(clear)
    except OSError as error:
        ctx.emit(Warned(ctx.path, f"old checkpoints could not be deleted: {explain(error, root)}"))
    finally:
        for event in removed:
            ctx.emit(event)


def _give_up_the_rest(ctx: Context[WriteCheckpoint]) -> None:
    """Orders that were never begun are answered too."""
    while True:
        try:
            order = ctx.inbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            return
        ctx.emit(CheckpointFailed(order.snapshot.step, "the writer was stopped before it came to this one"))
