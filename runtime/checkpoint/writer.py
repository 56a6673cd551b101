"""The checkpoint writer: an actor that turns snapshots into checkpoints while training goes on.

Its mailbox holds one order beside the one being written (`MAILBOX_CAPACITY`): each holds a share of a state in memory.
A sender that finds it full skips that checkpoint or waits; it is told by `MailboxFull`. Asked to stop, the writer
writes what it was given, and ends. A disk that refuses is a fact to tell, not a reason to die: the next may fit.

The only writer of a checkpoint finishes it. One of several writes its share and says so (`ShareSaved`); the first of
them is told what all others wrote (`SealCheckpoint`) and finishes it for all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

from runtime.actors.actor import ActorFn, Context
from runtime.checkpoint.draft import Inscription, seal, write_checkpoint, write_share
from runtime.checkpoint.durable import explain
from runtime.checkpoint.layout import folder_name
from runtime.checkpoint.manifest import Manifest, Provenance, files_of_text, files_to_text
from runtime.checkpoint.retention import Keeping, prune
from runtime.errors import CheckpointError
from runtime.events import CheckpointFailed, CheckpointRemoved, CheckpointWritten, Warned
from runtime.flow import Snapshot
from runtime.ids import Step

MAILBOX_CAPACITY = 1


@dataclass(frozen=True)
class WriteCheckpoint:
    """Save this state, or this share of it. Its arrays are evaluated, and never written to by anybody again."""

    snapshot: Snapshot
    provenance: Provenance
    metrics: Mapping[str, float] = field(default_factory=dict)
    pinned: bool = False
    attempt: str = ""
    """What all writers of this checkpoint call it; a name of its own is drawn for an empty one."""
    share: int = 0
    shares: int = 1
    """This is share number `share` of so many."""


@dataclass(frozen=True)
class SealCheckpoint:
    """All shares are on disk, and these are their files: finish the checkpoint. For the writer of share 0."""

    step: Step
    attempt: str
    files: tuple[str, ...]


WriterOrder: TypeAlias = WriteCheckpoint | SealCheckpoint


@dataclass(frozen=True)
class ShareSaved:
    """One of several shares is on disk; `files` is what the sealer must know of it."""

    step: Step
    attempt: str
    shares: int
    files: str


@dataclass(frozen=True)
class Saved:
    """What became of an attempt, as far as it was this writer's."""

    attempt: str
    fact: CheckpointWritten | CheckpointFailed


@dataclass(frozen=True)
class _Unsealed:
    attempt: str
    about: Inscription
    begun: float


def checkpoint_writer(root: Path, keeping: Keeping) -> ActorFn:
    """The actor's body for the checkpoints folder `root` (`runs/<name>/checkpoints`).

    Emits ShareSaved or Saved once for every order that it was given, and CheckpointRemoved for what retention deletes
    after each checkpoint that it finished.
    """

    async def body(ctx: Context[WriterOrder]) -> None:
        ctx.ready()
        desk = _Desk(ctx, root, keeping)
        try:
            async for order in ctx.inbox:
                await desk.take(order)
        finally:
            _give_up_the_rest(ctx)

    return body


class _Desk:
    """What the writer does with its orders."""

    def __init__(self, ctx: Context[WriterOrder], root: Path, keeping: Keeping) -> None:
        self._ctx, self._root, self._keeping = ctx, root, keeping
        self._unsealed: _Unsealed | None = None

    async def take(self, order: WriterOrder) -> None:
        """Do it, and tell the outcome.

        Shielded and not bounded: a thread inside fsync cannot be stopped, and half a checkpoint is worth nothing.
        """
        begun = time.monotonic()
        try:
            with trio.CancelScope(shield=True):
                if isinstance(order, SealCheckpoint):
                    done = await self._seal(order)
                elif order.shares > 1:
                    return await self._write_share(order, begun)
                else:
                    done = await self._write_whole(order, begun)
        except CheckpointError as error:
            self._ctx.emit(Saved(order.attempt, CheckpointFailed(_step_of(order), str(error))))
        else:
            self._ctx.emit(done)
            await self._prune()

    async def _write_whole(self, order: WriteCheckpoint, begun: float) -> Saved:
        save = partial(
            write_checkpoint,
            order.snapshot,
            self._root,
            order.provenance,
            metrics=order.metrics,
            pinned=order.pinned,
            attempt=order.attempt,
        )
        return self._saved(order.attempt, await trio.to_thread.run_sync(save), begun)

    async def _write_share(self, order: WriteCheckpoint, begun: float) -> None:
        snapshot = order.snapshot
        if order.share == 0:
            state = (snapshot.step, snapshot.cursor, snapshot.counters)
            about = Inscription(*state, order.metrics, order.provenance, order.pinned)
            self._unsealed = _Unsealed(order.attempt, about, begun)
        files = await trio.to_thread.run_sync(write_share, snapshot, self._root, order.attempt, order.share)
        self._ctx.emit(ShareSaved(snapshot.step, order.attempt, order.shares, files_to_text(files)))

    async def _seal(self, order: SealCheckpoint) -> Saved:
        unsealed, self._unsealed = self._unsealed, None
        if unsealed is None or unsealed.attempt != order.attempt:
            raise CheckpointError(f"cannot save step {order.step}: another checkpoint was begun meanwhile")
        files = tuple(file for text in order.files for file in files_of_text(text))
        manifest = await trio.to_thread.run_sync(seal, self._root, order.attempt, unsealed.about, files)
        return self._saved(order.attempt, manifest, unsealed.begun)

    def _saved(self, attempt: str, manifest: Manifest, begun: float) -> Saved:
        path = f"{self._root.name}/{folder_name(manifest.step)}"
        seconds = time.monotonic() - begun
        return Saved(
            attempt, CheckpointWritten(manifest.step, path, manifest.size_bytes, seconds, manifest.parameter_hash)
        )

    async def _prune(self) -> None:
        root = self._root
        removed: list[CheckpointRemoved] = []
        clear = partial(
            prune,
            root,
            self._keeping,
            on_removed=lambda step, folder: removed.append(CheckpointRemoved(step, f"{root.name}/{folder.name}")),
        )
        try:
            await trio.to_thread.run_sync(clear)
        except OSError as error:
            self._ctx.emit(Warned(self._ctx.path, f"old checkpoints could not be deleted: {explain(error, root)}"))
        finally:
            for event in removed:
                self._ctx.emit(event)


def _step_of(order: WriterOrder) -> Step:
    return order.step if isinstance(order, SealCheckpoint) else order.snapshot.step


def _give_up_the_rest(ctx: Context[WriterOrder]) -> None:
    """Orders that were never begun are answered too."""
    while True:
        try:
            order = ctx.inbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            return
        reason = "the writer was stopped before it came to this one"
        ctx.emit(Saved(order.attempt, CheckpointFailed(_step_of(order), reason)))
