"""A checkpoint being written. Nothing of it counts until its folder is renamed, and then all of it does.

    step-N.<attempt>.tmp/  parameters.safetensors, optimizer.safetensors (synced), manifest.json (last, synced)
    folder synced -> renamed to step-N/ -> parent synced -> LATEST replaced

`write_checkpoint` does all of it for one writer. Several writers of one folder agree on an attempt: each calls
`write_share`, and one of them collects the entries and calls `seal`.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.checkpoint.arrays import dtype_code, shape_of, size_bytes
from runtime.checkpoint.durable import explain, sync_folder, write_file
from runtime.checkpoint.layout import PINNED_NAME, folder_name, move_in, sweep, write_latest
from runtime.checkpoint.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Number,
    Provenance,
    Role,
    TensorEntry,
    of_files,
)
from runtime.checkpoint.safetensors_file import write_tensors
from runtime.errors import CheckpointError
from runtime.flow import Array, Snapshot
from runtime.ids import Cursor, Step


@dataclass(frozen=True)
class Inscription:
    """What a manifest says beside its files."""

    step: Step
    cursor: Cursor
    counters: Mapping[str, Number]
    metrics: Mapping[str, float]
    provenance: Provenance
    pinned: bool = False


def write_checkpoint(
    snapshot: Snapshot,
    root: Path,
    provenance: Provenance,
    *,
    metrics: Mapping[str, float] | None = None,
    pinned: bool = False,
    attempt: str = "",
) -> Manifest:
    """Write `snapshot` to `root/step-N` and return its manifest; when it returns, a power cut cannot take it away.

    Blocks for as long as the disk needs; call it in a thread. Arrays must be evaluated. Raises CheckpointError with
    one sentence when the disk refuses; then nothing of the new checkpoint is left and every older one is untouched.
    """
    about = Inscription(snapshot.step, snapshot.cursor, snapshot.counters, metrics or {}, provenance, pinned)
    draft: Path | None = None
    try:
        with _saving(root, snapshot.step, snapshot):
            draft = begin(root, snapshot.step, attempt=attempt)
            return _complete(draft, about, _write_files(draft, snapshot, ""))
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)  # renamed away if all went well


def write_share(share: Snapshot, root: Path, attempt: str, index: int) -> tuple[FileEntry, ...]:
    """Write and sync one writer's tensors, as number `index` of an attempt that several agreed on; their entries.

    Blocks and raises like `write_checkpoint`; the whole attempt is then worth nothing, and its folder is removed.
    """
    try:
        with _saving(root, share.step, share):
            draft = begin(root, share.step, attempt=attempt)
            return _write_files(draft, share, f"-{index}")
    except CheckpointError:
        shutil.rmtree(root / _draft_name(share.step, attempt), ignore_errors=True)
        raise


def seal(root: Path, attempt: str, about: Inscription, files: tuple[FileEntry, ...]) -> Manifest:
    """Complete an attempt whose `files` are all written. Raises like `write_checkpoint`."""
    draft = root / _draft_name(about.step, attempt)
    try:
        with _saving(root, about.step):
            for file in files:
                if (draft / file.name).stat().st_size != file.size_bytes:
                    raise CheckpointError(f"cannot save step {about.step}: {file.name} was changed by somebody else")
            return _complete(draft, about, files)
    except ValueError as fault:
        raise CheckpointError(f"cannot save step {about.step}: {fault}") from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextlib.contextmanager
def _saving(root: Path, step: Step, snapshot: Snapshot | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        needed = 0 if snapshot is None else sum(snapshot_bytes(snapshot).values())
        raise CheckpointError(
            f"cannot save step {step} in {root}: {explain(error, root, needed_bytes=needed)}"
        ) from error


def _write_files(draft: Path, snapshot: Snapshot, suffix: str) -> tuple[FileEntry, ...]:
    files = []
    if snapshot.parameters:
        files.append(write_shard(draft, f"parameters{suffix}.safetensors", "parameters", snapshot.parameters))
    if snapshot.pieces:
        files += [
            write_shard(draft, f"optimizer{suffix}.{number}.safetensors", "optimizer", arrays, pieces=places)
            for number, (arrays, places) in enumerate(_piece_files(snapshot))
        ]
    elif snapshot.optimizer:
        files.append(write_shard(draft, f"optimizer{suffix}.safetensors", "optimizer", snapshot.optimizer))
    return tuple(files)


def _piece_files(snapshot: Snapshot) -> list[tuple[dict[str, Array], dict[str, tuple[tuple[int, ...], int]]]]:
    """Pieces by the file that they go to, with (whole shape, first element): a file has one of each array at most."""
    files: list[tuple[dict[str, Array], dict[str, tuple[tuple[int, ...], int]]]] = []
    seen: Counter[str] = Counter()
    for key, (name, shape, start) in sorted(snapshot.pieces.items(), key=lambda item: (item[1][0], item[1][2])):
        if seen[name] == len(files):
            files.append(({}, {}))
        arrays, places = files[seen[name]]
        arrays[name], places[name] = snapshot.optimizer[key], (shape, start)
        seen[name] += 1
    return files


def _complete(draft: Path, about: Inscription, files: tuple[FileEntry, ...]) -> Manifest:
    manifest = of_files(
        files,
        step=about.step,
        cursor=about.cursor,
        counters=about.counters,
        metrics=about.metrics,
        provenance=about.provenance,
        created_at=time.time(),
    )
    finish(draft, manifest, pinned=about.pinned)
    return manifest


def _draft_name(step: Step, attempt: str) -> str:
    return f"{folder_name(step)}.{attempt}.tmp"


def begin(root: Path, step: Step, *, attempt: str = "") -> Path:
    """Open the folder of a draft, after sweeping away what earlier crashes left. Raises OSError.

    Every attempt has its own name (drawn at random, unless several writers must agree on one): a writer that was
    declared dead and wakes up finds its folder gone, and cannot write into its successor's.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(root, older_than=attempt)
    draft = root / _draft_name(step, attempt or secrets.token_hex(4))
    draft.mkdir(exist_ok=bool(attempt))  # another writer of the attempt was first
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
