"""Reading checkpoints: newest to oldest, every byte verified; what is broken is set aside and said, never used.

Verification needs neither mlx nor memory for more than a few MiB.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.checkpoint import layout
from runtime.checkpoint.arrays import to_mlx
from runtime.checkpoint.durable import explain
from runtime.checkpoint.hashing import model_hash
from runtime.checkpoint.manifest import FileEntry, Manifest, Role, TensorEntry, read_manifest
from runtime.checkpoint.refusals import BrokenCheckpoint, ForeignCheckpoint
from runtime.checkpoint.safetensors_file import read_digests, read_tensors
from runtime.errors import CheckpointError
from runtime.flow import Array, Snapshot
from runtime.ids import Step


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was verified."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Rejected:
    """Something that was found broken: a checkpoint, or LATEST."""

    path: Path
    reason: str
    moved_to: Path | None = None
    """Its place in the quarantine; None if it is LATEST, which is written anew, or could not be moved."""


def newest_good(
    root: Path,
    *,
    on_rejected: Callable[[Rejected], None],
    objection: Callable[[Step], str] = lambda _: "",
) -> Checkpoint | None:
    """The newest checkpoint under `root` whose every byte is as written; None if there is none.

    `objection` says why a step's checkpoint is not to be used even if it is whole; empty: nothing speaks against it.

    Broken ones are moved to the quarantine, each with a call of `on_rejected`; LATEST is put right; unfinished ones are
    deleted. Only for whoever owns the run folder. Raises CheckpointError where a person must act: no access, or a
    newer format version.
    """
    with _reading(root):
        if root.exists():
            layout.sweep(root)
        folders = layout.checkpoint_folders(root)
    rejected: set[Step | None] = set()
    for folder in folders:
        step = layout.step_of(folder.name)
        try:
            good = Checkpoint(folder, _accepted(folder, "" if step is None else objection(step)))
        except BrokenCheckpoint as error:
            rejected.add(step)
            on_rejected(_set_aside(folder, str(error)))
        else:
            _mend_latest(root, good.manifest.step, rejected, on_rejected)
            return good
    return None


def verify(folder: Path) -> Manifest:
    """Compare every byte of a checkpoint with its manifest, and return that.

    Raises BrokenCheckpoint with the first thing wrong, ForeignCheckpoint for a newer format version, and
    CheckpointError if the folder cannot be read.
    """
    with _reading(folder):
        manifest = read_manifest(folder)
        for file in manifest.files:
            _verify_file(folder, file)
    claimed = layout.step_of(folder.name)
    if claimed is not None and claimed != manifest.step:
        raise BrokenCheckpoint(f"the folder is called {folder.name} and holds step {manifest.step}")
    return manifest


def load(folder: Path, needed: Callable[[str], bool] = lambda _: True) -> Snapshot:
    """The whole state of a checkpoint as evaluated mlx arrays, verified while it is read; or what of it belongs to the
    parameters that are `needed`, by their names.

    Call it on the thread that owns mlx. Raises like `verify`.
    """
    with _reading(folder):
        manifest = read_manifest(folder)
        return Snapshot(
            step=manifest.step,
            cursor=manifest.cursor,
            parameters=_load_role(folder, manifest, "parameters", needed),
            optimizer=_load_role(folder, manifest, "optimizer", lambda name: needed(name.partition(".")[2])),
            counters=dict(manifest.counters),
        )


def check_fits(
    checkpoint: Checkpoint, *, architecture: str, shapes: Mapping[str, tuple[int, ...]], optimizer: str
) -> None:
    """Raise ForeignCheckpoint, with the difference, unless the checkpoint is of this model and this optimizer."""
    folder, manifest = checkpoint.folder, checkpoint.manifest
    if manifest.model_hash != model_hash(architecture, shapes):
        difference = _model_difference(manifest, architecture, shapes)
        raise ForeignCheckpoint(
            f"{folder} belongs to another model: {difference}; give this run another run.name, "
            "or put [model] back as it was"
        )
    check_optimizer(checkpoint, optimizer)


def check_optimizer(checkpoint: Checkpoint, optimizer: str) -> None:
    """Raise ForeignCheckpoint unless the checkpoint's optimizer state is of this optimizer."""
    folder, manifest = checkpoint.folder, checkpoint.manifest
    if manifest.provenance.optimizer != optimizer:
        raise ForeignCheckpoint(
            f'{folder} was trained with optim.name = "{manifest.provenance.optimizer}", not "{optimizer}"; '
            "put it back, or give this run another run.name"
        )


def check_base(checkpoint: Checkpoint, base: str) -> None:
    """Raise ForeignCheckpoint unless this run trains on the checkpoint's base; "" for one that trains everything."""
    there = checkpoint.manifest.provenance.base
    if there == base:
        return
    holds = f"an adapter over {there}" if there else "every parameter of a model"
    trains = f"trains an adapter over {base}" if base else "trains every parameter"
    raise ForeignCheckpoint(
        f"{checkpoint.folder} holds {holds}, and this run {trains}; put [model] back, or give this run another run.name"
    )


def check_base_hash(folder: Path, base_hash: str) -> None:
    """Raise ForeignCheckpoint unless the base that was loaded has the bits that the checkpoint's adapter was made for.

    Raises like `read_manifest` too.
    """
    about = read_manifest(folder).provenance
    if about.base_hash != base_hash:
        raise ForeignCheckpoint(
            f"{folder} holds an adapter over {about.base or 'no base'}, whose weights are not the ones that were "
            "loaded (another revision, dtype or quantisation); bring that model back, or give this run another run.name"
        )


def _verify_file(folder: Path, file: FileEntry) -> None:
    path = folder / file.name
    _check_size(path, file)
    found = read_digests(path)
    if found.header.digest != file.header_digest:
        raise BrokenCheckpoint(f"the header of {file.name} was changed after it was written")
    for slot in found.header.slots:
        _check_tensor(file, slot.name, found.tensors[slot.name])


def _check_size(path: Path, file: FileEntry) -> None:
    size = path.stat().st_size
    if size != file.size_bytes:
        raise BrokenCheckpoint(f"{file.name} is {size} bytes long instead of {file.size_bytes}")


def _check_tensor(file: FileEntry, name: str, digest: str) -> TensorEntry:
    entry = file.tensors.get(name)
    if entry is None:
        raise BrokenCheckpoint(f"the manifest does not know {name} in {file.name}")
    if digest != entry.digest:
        raise BrokenCheckpoint(f"{name} in {file.name} was changed after it was written")
    return entry


def _load_role(folder: Path, manifest: Manifest, role: Role, needed: Callable[[str], bool]) -> dict[str, Array]:
    """All tensors of one role. Whole ones are handed over at once; pieces wait until all of them have come."""
    arrays: dict[str, Array] = {}
    flat: dict[str, tuple[TensorEntry, npt.NDArray[np.generic]]] = {}
    for file in manifest.files:
        if file.role != role:
            continue
        path = folder / file.name
        _check_size(path, file)
        for slot, digest, array in read_tensors(path, file.header_digest):
            entry = _check_tensor(file, slot.name, digest)
            if not needed(slot.name):
                continue
            if entry.piece is None:
                arrays[slot.name] = to_mlx(array, slot.dtype)
                continue
            if slot.name not in flat:
                flat[slot.name] = entry, np.empty(math.prod(entry.shape), array.dtype)
            start, stop = entry.piece
            flat[slot.name][1][start:stop] = array
    while flat:
        name, (entry, whole) = flat.popitem()
        arrays[name] = to_mlx(whole.reshape(entry.shape), entry.dtype)
    return arrays


def _accepted(folder: Path, objection: str) -> Manifest:
    if objection:
        raise BrokenCheckpoint(objection)
    return verify(folder)


def _set_aside(folder: Path, reason: str) -> Rejected:
    try:
        return Rejected(folder, reason, layout.quarantine(folder, reason))
    except OSError as error:  # a full or read-only disk: it stays, and is passed over again next time
        return Rejected(folder, f"{reason} (and it could not be set aside: {explain(error, folder)})")


def _mend_latest(root: Path, newest: Step, rejected: set[Step | None], on_rejected: Callable[[Rejected], None]) -> None:
    """Make LATEST name the newest good one. A crash before the last rename leaves it behind: not worth a word."""
    path = root / layout.LATEST_NAME
    named: Step | None = None
    try:
        named = layout.read_latest(root)
    except BrokenCheckpoint as error:
        on_rejected(Rejected(path, str(error)))
    except OSError as error:
        on_rejected(Rejected(path, f"{path.name} cannot be read: {explain(error, root)}"))
    if named is not None and named > newest and named not in rejected:
        on_rejected(Rejected(path, f"{path.name} names {layout.folder_name(named)}, which is not there"))
    if named != newest:
        with contextlib.suppress(OSError):  # readers do without it
            layout.write_latest(root, newest)


def _model_difference(manifest: Manifest, architecture: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    there, here = manifest.shapes("parameters"), shapes
    if manifest.provenance.architecture != architecture:
        return f"its architecture is {manifest.provenance.architecture}, this one's is {architecture}"
    for name in sorted({*there, *here}):
        if name not in here:
            return f"it has a parameter {name}, this one has not"
        if name not in there:
            return f"it has no parameter {name}, this one has"
        if there[name] != here[name]:
            return f"{name} is {list(there[name])} there and {list(here[name])} here"
    return "its identity differs"  # pragma: no cover - equal names and shapes of one architecture hash alike


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """What an OSError means to a reader: lost or unreadable bytes are damage, the rest is a person's task."""
    try:
        yield
    except FileNotFoundError as error:
        raise BrokenCheckpoint(f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        if error.errno in (errno.EIO, errno.EISDIR, errno.ENOTDIR):
            raise BrokenCheckpoint(f"{folder.name} cannot be read: {explain(error, folder)}") from error
        raise CheckpointError(f"cannot read {folder}: {explain(error, folder)}") from error
