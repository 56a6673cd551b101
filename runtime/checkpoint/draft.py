"""A checkpoint being written. Nothing of it counts until its folder is renamed, and then all of it does.

    step-N.<attempt>.tmp/  parameters.safetensors, optimizer.safetensors (synced), manifest.json (last, synced)
    folder synced -> renamed to step-N/ -> parent synced -> LATEST replaced

`write_checkpoint` does all of it for one writer. With several, each calls `write_shard` on the same folder, and one
of them collects the entries and calls `finish`.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from runtime.checkpoint.arrays import dtype_code, shape_of, size_bytes
from runtime.checkpoint.durable import explain, sync_folder, write_file
from runtime.checkpoint.layout import PINNED_NAME, folder_name, move_in, sweep, write_latest
from runtime.checkpoint.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Provenance,
    Role,
    TensorEntry,
    of_files,
)
from runtime.checkpoint.safetensors_file import write_tensors
from runtime.errors import CheckpointError
from runtime.flow import Array, Snapshot
from runtime.ids import Step


def write_checkpoint(
    snapshot: Snapshot,
    root: Path,
    provenance: Provenance,
    *,
    metrics: Mapping[str, float] | None = None,
    pinned: bool = False,
) -> Manifest:
    """Write `snapshot` to `root/step-N` and return its manifest; when it returns, a power cut cannot take it away.

    Blocks for as long as the disk needs; call it in a thread. Arrays must be evaluated. Raises CheckpointError with
    one sentence when the disk refuses; then nothing of the new checkpoint is left and every older one is untouched.
    """
    draft: Path | None = None
    try:
        draft = begin(root, snapshot.step)
        files = [write_shard(draft, "parameters.safetensors", "parameters", snapshot.parameters)]
        if snapshot.optimizer:
            files.append(write_shard(draft, "optimizer.safetensors", "optimizer", snapshot.optimizer))
        manifest = of_files(
            tuple(files),
            step=snapshot.step,
            cursor=snapshot.cursor,
            counters=snapshot.counters,
            metrics=metrics or {},
            provenance=provenance,
            created_at=time.time(),
        )
        finish(draft, manifest, pinned=pinned)
    except OSError as error:
        needed = sum(snapshot_bytes(snapshot).values())
        raise CheckpointError(
            f"cannot save step {snapshot.step} in {root}: {explain(error, root, needed_bytes=needed)}; "
            "checkpoints saved before are intact"
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)  # renamed away if all went well
    return manifest


def begin(root: Path, step: Step, *, attempt: str = "") -> Path:
    """Open the folder of a new draft, after sweeping away what earlier crashes left. Raises OSError.

    Every attempt has its own name (drawn at random, unless several writers must agree on one): a writer that was
    declared dead and wakes up finds its folder gone, and cannot write into its successor's.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    draft = root / f"{folder_name(step)}.{attempt or secrets.token_hex(4)}.tmp"
    draft.mkdir()
    return draft


def write_shard(
    draft: Path,
    name: str,
    role: Role,
    tensors: Mapping[str, Array],
    *,
    pieces: Mapping[str, tuple[tuple[int, ...], int]] | None = None,
) -> FileEntry:
    """Write one synced file of a draft and return its entry for the manifest. Raises OSError.

    `pieces[name] = (whole shape, first element)` marks a tensor here as a flat piece of a larger one.
    """
    digests = write_tensors(draft / name, tensors)
    entries = {}
    for slot in digests.header.slots:
        shape, piece = slot.shape, None
        if pieces and slot.name in pieces:
            shape, start = pieces[slot.name]
            piece = (start, start + slot.shape[0])
        entries[slot.name] = TensorEntry(slot.dtype, shape, digests.tensors[slot.name], piece)
    return FileEntry(name, role, digests.size_bytes, digests.header.digest, entries)


def finish(draft: Path, manifest: Manifest, *, pinned: bool = False) -> Path:
    """Seal a draft whose files are all written, and return the checkpoint's folder. Raises OSError."""
    if pinned:
        write_file(draft / PINNED_NAME, b"")
    write_file(draft / MANIFEST_NAME, manifest.render())
    sync_folder(draft)
    final = move_in(draft, manifest.step)
    with contextlib.suppress(OSError):  # the checkpoint is complete without it, and readers do not need it
        write_latest(final.parent, manifest.step)
    return final


def snapshot_bytes(snapshot: Snapshot) -> dict[Role, int]:
    """Bytes of a snapshot's arrays: what a checkpoint of it needs on the disk, a few KB aside."""
    roles: dict[Role, Mapping[str, Array]] = {"parameters": snapshot.parameters, "optimizer": snapshot.optimizer}
    return {
        role: sum(size_bytes(dtype_code(array), shape_of(array)) for array in arrays.values())
        for role, arrays in roles.items()
    }
