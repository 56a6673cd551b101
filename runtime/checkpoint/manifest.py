"""The manifest: written last, it is the proof that a checkpoint is complete, and it says what everything else must be.

It is JSON whose last key is a digest of every byte before it. Format version 1 is closed: fields may be added (an
older reader passes over what it does not know), a change that it must not pass over gets version 2.

A tensor lies whole in one file, or in pieces: flat element ranges in files of several workers (ZeRO slices).
Parameters are always whole, so that their common hash is a hash over the digests.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from runtime.checkpoint.hashing import TensorDigest, combined_hash, digest_of, model_hash
from runtime.checkpoint.refusals import BrokenCheckpoint, ForeignCheckpoint
from runtime.ids import Cursor, Generation, Rank, Step

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
_SEAL = re.compile(rb',\n "manifest_hash": "([0-9a-f]{32})"\n}\n\Z')
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")

Role: TypeAlias = Literal["parameters", "optimizer"]
Number: TypeAlias = int | float


@dataclass(frozen=True)
class TensorEntry:
    """One tensor, or one flat piece of it, inside one file."""

    dtype: str
    shape: tuple[int, ...]
    """The whole tensor's shape, also when only a piece of it lies here."""
    digest: str
    piece: tuple[int, int] | None = None
    """Element range [start, stop) of the flattened tensor; None: all of it."""


@dataclass(frozen=True)
class FileEntry:
    """One safetensors file: its size and its header's digest; the tensors' digests cover the rest of its bytes."""

    name: str
    role: Role
    size_bytes: int
    header_digest: str
    tensors: Mapping[str, TensorEntry]


@dataclass(frozen=True)
class Provenance:
    """Who wrote a checkpoint, and of what."""

    run: str
    architecture: str
    config_hash: str
    optimizer: str
    generation: Generation
    ranks: tuple[Rank, ...]
    """The members of that generation."""
    base: str = ""
    """What an adapter was trained on (path and revision); empty: the checkpoint holds every parameter."""
    base_hash: str = ""
    """Of the parameters of `base`, which are not in the checkpoint."""


@dataclass(frozen=True)
class Manifest:
    """Everything that is known of one checkpoint without opening its files."""

    step: Step
    cursor: Cursor
    counters: Mapping[str, Number]
    metrics: Mapping[str, float]
    """The newest evaluation at that step, `eval/loss` and others; retention and `--best` look here."""
    provenance: Provenance
    files: tuple[FileEntry, ...]
    parameter_hash: str
    model_hash: str
    created_at: float
    """Seconds since 1970, UTC."""
    format_version: int = field(default=FORMAT_VERSION)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensor files."""
        return sum(file.size_bytes for file in self.files)

    def shapes(self, role: Role) -> dict[str, tuple[int, ...]]:
        """The shape of every whole tensor of one role."""
        return {name: entry.shape for file in self.files if file.role == role for name, entry in file.tensors.items()}

    def render(self) -> bytes:
        """The file's content, sealed by its own digest."""
        body = json.dumps(_to_json(self), indent=1, allow_nan=False, ensure_ascii=False)
        prefix = body.removesuffix("\n}").encode()
        return prefix + f',\n "manifest_hash": "{digest_of(prefix)}"\n}}\n'.encode()


def of_files(
    files: tuple[FileEntry, ...],
    *,
    step: Step,
    cursor: Cursor,
    counters: Mapping[str, Number],
    metrics: Mapping[str, float],
    provenance: Provenance,
    created_at: float,
) -> Manifest:
    """The manifest of finished files, perhaps of several workers. Raises ValueError if they do not add up."""
    if fault := _coverage_fault(files):
        raise ValueError(fault)
    parameters = _parameter_digests(files)
    return Manifest(
        step=step,
        cursor=cursor,
        counters=dict(counters),
        metrics=dict(metrics),
        provenance=provenance,
        files=files,
        parameter_hash=combined_hash(parameters),
        model_hash=model_hash(provenance.architecture, {tensor.name: tensor.shape for tensor in parameters}),
        created_at=created_at,
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder, its own digest verified, the other files not looked at.

    Raises BrokenCheckpoint, ForeignCheckpoint (a newer format version), and OSError other than a missing file.
    """
    try:
        content = (folder / MANIFEST_NAME).read_bytes()
    except FileNotFoundError as error:
        raise BrokenCheckpoint(f"{MANIFEST_NAME} is missing") from error
    return parse(content, folder)


def parse(content: bytes, folder: Path) -> Manifest:
    """The manifest in a file's content; `folder` is only for the sentences. Raises like `read_manifest`."""
    seal = _SEAL.search(content)
    if seal is None:
        raise BrokenCheckpoint(f"{MANIFEST_NAME} is cut off or damaged")
    if digest_of(content[: seal.start()]) != seal[1].decode():
        raise BrokenCheckpoint(f"{MANIFEST_NAME} was changed after it was written")
    fields = json.loads(content)  # the digest holds: these are the bytes that a writer of ours rendered
    version = fields["format_version"]
    if version > FORMAT_VERSION:
        raise ForeignCheckpoint(
            f"{folder} has format version {version} and this program reads up to {FORMAT_VERSION}; "
            "use the mlx-distributed that wrote it"
        )
    manifest = _from_json(fields)
    if fault := _coverage_fault(manifest.files):
        raise BrokenCheckpoint(f"{MANIFEST_NAME}: {fault}")
    return manifest


def files_to_text(files: tuple[FileEntry, ...]) -> str:
    """What one writer says of its files to whoever writes the manifest."""
    return json.dumps([_file_out(file) for file in files], separators=(",", ":"))


def files_of_text(text: str) -> tuple[FileEntry, ...]:
    """The other end of `files_to_text`."""
    return tuple(_file_in(file) for file in json.loads(text))


def _to_json(manifest: Manifest) -> dict[str, Any]:
    head = {"format_version": manifest.format_version, "step": manifest.step, "cursor": manifest.cursor}
    return head | {
        "created_at": manifest.created_at,
        "parameter_hash": manifest.parameter_hash,
        "model_hash": manifest.model_hash,
        "counters": {name: _number_out(value) for name, value in manifest.counters.items()},
        "metrics": {name: _number_out(value) for name, value in manifest.metrics.items()},
        "provenance": asdict(manifest.provenance),
        "files": [_file_out(file) for file in manifest.files],
    }


def _file_out(file: FileEntry) -> dict[str, Any]:
    tensors = {}
    for name, entry in file.tensors.items():
        tensors[name] = {"dtype": entry.dtype, "shape": entry.shape, "digest": entry.digest}
        if entry.piece is not None:
            tensors[name]["piece"] = entry.piece
    return {
        "name": file.name,
        "role": file.role,
        "size_bytes": file.size_bytes,
        "header_digest": file.header_digest,
        "tensors": tensors,
    }


def _from_json(fields: dict[str, Any]) -> Manifest:
    about = fields["provenance"]
    provenance = Provenance(
        run=about["run"],
        architecture=about["architecture"],
        config_hash=about["config_hash"],
        optimizer=about["optimizer"],
        generation=Generation(about["generation"]),
        ranks=tuple(Rank(rank) for rank in about["ranks"]),
        base=about.get("base", ""),
        base_hash=about.get("base_hash", ""),
    )
    return Manifest(
        step=Step(fields["step"]),
        cursor=Cursor(fields["cursor"]),
        counters={name: _number_in(value) for name, value in fields["counters"].items()},
        metrics={name: float(_number_in(value)) for name, value in fields["metrics"].items()},
        provenance=provenance,
        files=tuple(_file_in(file) for file in fields["files"]),
        parameter_hash=fields["parameter_hash"],
        model_hash=fields["model_hash"],
        created_at=fields["created_at"],
        format_version=fields["format_version"],
    )


def _file_in(fields: dict[str, Any]) -> FileEntry:
    tensors = {}
    for name, entry in fields["tensors"].items():
        piece = (entry["piece"][0], entry["piece"][1]) if "piece" in entry else None
        tensors[name] = TensorEntry(entry["dtype"], tuple(entry["shape"]), entry["digest"], piece)
    return FileEntry(fields["name"], fields["role"], fields["size_bytes"], fields["header_digest"], tensors)


def _number_out(value: Number) -> Number | str:
    """JSON has no infinity and no NaN; they go as text."""
    return value if math.isfinite(value) else str(value)


def _number_in(value: Number | str) -> Number:
    return float(value) if isinstance(value, str) else value


def _parameter_digests(files: tuple[FileEntry, ...]) -> list[TensorDigest]:
    return [
        TensorDigest(name, entry.dtype, entry.shape, entry.digest)
        for file in files
        if file.role == "parameters"
        for name, entry in file.tensors.items()
    ]


def _coverage_fault(files: tuple[FileEntry, ...]) -> str:
    """What is wrong with the set of files as a whole, or nothing."""
    names = [file.name for file in files]
    if bad := next((name for name in names if not _FILE_NAME.fullmatch(name)), None):
        return f"{bad!r} is no name for a file of tensors"
    if len(set(names)) < len(names):
        return "two files have the same name"
    if not any(file.role == "parameters" and file.tensors for file in files):
        return "there are no parameters"
    pieces: dict[tuple[Role, str], list[TensorEntry]] = {}
    for file in files:
        for name, entry in file.tensors.items():
            pieces.setdefault((file.role, name), []).append(entry)
    faults = (_pieces_fault(role, name, entries) for (role, name), entries in pieces.items())
    return next((fault for fault in faults if fault), "")


def _pieces_fault(role: Role, name: str, entries: list[TensorEntry]) -> str:
    if len({(entry.dtype, entry.shape) for entry in entries}) > 1:
        return f"the pieces of {name} disagree about its dtype or shape"
    if role == "parameters" and any(entry.piece for entry in entries):
        return f"the parameter {name} is cut into pieces"
    size = math.prod(entries[0].shape)
    covered = 0
    for start, stop in sorted(entry.piece or (0, size) for entry in entries):
        if start != covered or stop < start:
            return f"the pieces of {name} leave a gap or overlap at element {min(start, covered)}"
        covered = stop
    if covered != size or (len(entries) > 1 and not size):
        return f"the pieces of {name} cover {covered} of {size} elements"
    return ""
