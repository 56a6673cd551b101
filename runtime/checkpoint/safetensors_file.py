"""One safetensors file, hashed while it is written and while it is read, in pieces of a few MiB.

Layout (Hugging Face's): 8 bytes length of the header, little-endian; the header, JSON `{name: {dtype, shape,
data_offsets}}` padded with blanks; then the tensors' bytes without a gap. Here the header is digested apart from
the tensors, and every tensor for itself: together they cover each byte of the file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from runtime.checkpoint.arrays import ITEM_BYTES, dtype_code, from_bytes, raw_bytes, shape_of, size_bytes
from runtime.checkpoint.durable import sync_descriptor
from runtime.checkpoint.hashing import Hasher, digest_of
from runtime.checkpoint.refusals import BrokenCheckpoint
from runtime.flow import Array

CHUNK_BYTES = 4 << 20
_LENGTH_BYTES = 8
_ALIGNMENT = 8
_HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies: dtype code, shape, and byte range counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """The opening of a file: its slots in file order, and the digest of the opening's bytes."""

    slots: tuple[Slot, ...]
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class FileDigests:
    """Everything that proves a file: its size, its header's digest, each tensor's digest."""

    size_bytes: int
    header: Header
    tensors: Mapping[str, str]


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> FileDigests:
    """Write evaluated arrays to a new file, sync it, return its digests. Raises OSError; the file is then partial."""
    slots = _plan(tensors)
    opening = _render_header(slots)
    digests = {}
    with path.open("wb") as file:
        file.write(opening)
        for slot in slots:
            digests[slot.name] = _write_hashed(file, raw_bytes(tensors[slot.name]))
        file.flush()
        sync_descriptor(file.fileno())
    header = Header(slots, digest_of(opening), len(opening))
    return FileDigests(len(opening) + (slots[-1].end if slots else 0), header, digests)


def read_digests(path: Path) -> FileDigests:
    """Hash a whole file without keeping it. Raises BrokenCheckpoint for what is no safetensors file, and OSError."""
    buffer = np.empty(CHUNK_BYTES, np.uint8)
    with path.open("rb", buffering=0) as file:
        header = read_header(file, path)
        digests = {slot.name: _hash_slot(file, slot, buffer, path) for slot in header.slots}
    return FileDigests(path.stat().st_size, header, digests)


def read_tensors(path: Path, header_digest: str) -> Iterator[tuple[Slot, str, npt.NDArray[np.generic]]]:
    """Each tensor with its digest, one at a time, in file order; bfloat16 as uint16.

    Raises like `read_digests`, and BrokenCheckpoint if the header is not the one with `header_digest`.
    """
    with path.open("rb", buffering=0) as file:
        header = read_header(file, path)
        if header.digest != header_digest:
            raise BrokenCheckpoint(f"the header of {path.name} was changed after it was written")
        for slot in header.slots:
            buffer = np.empty(slot.end - slot.begin, np.uint8)
            digest = Hasher()
            for begin in range(0, buffer.size, CHUNK_BYTES):
                chunk = memoryview(buffer[begin : begin + CHUNK_BYTES])
                _fill(file, chunk, path)
                digest.update(chunk)
            yield slot, digest.digest(), from_bytes(buffer, slot.dtype, slot.shape)


def read_header(file: BinaryIO, path: Path) -> Header:
    """The header of an open, unbuffered file; leaves it at the first tensor. Raises BrokenCheckpoint."""
    length = file.read(_LENGTH_BYTES)
    header_bytes = int.from_bytes(length, "little")
    body_bytes = path.stat().st_size - _LENGTH_BYTES - header_bytes
    if len(length) < _LENGTH_BYTES or header_bytes > _HEADER_LIMIT_BYTES or body_bytes < 0:
        raise BrokenCheckpoint(f"{path.name} is cut off or is no safetensors file")
    text = bytearray(header_bytes)
    _fill(file, memoryview(text), path)
    try:
        slots = _parse_slots(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # whatever a damaged JSON can do
        raise BrokenCheckpoint(f"the header of {path.name} is damaged") from error
    ends = [0, *(slot.end for slot in slots)]
    if [slot.begin for slot in slots] != ends[:-1] or ends[-1] != body_bytes:
        raise BrokenCheckpoint(f"{path.name} is {path.stat().st_size} bytes long, not what its header says")
    return Header(slots, digest_of(length + bytes(text)), _LENGTH_BYTES + header_bytes)


def _plan(tensors: Mapping[str, Array]) -> tuple[Slot, ...]:
    """Widest items first, so that every tensor lies on a multiple of its item size; then by name."""
    forms = [(name, dtype_code(array), shape_of(array)) for name, array in tensors.items()]
    forms.sort(key=lambda form: (-ITEM_BYTES[form[1]], form[0]))
    ends = list(itertools.accumulate((size_bytes(dtype, shape) for _, dtype, shape in forms), initial=0))
    return tuple(Slot(*form, begin, end) for form, begin, end in zip(forms, ends[:-1], ends[1:], strict=True))


def _render_header(slots: tuple[Slot, ...]) -> bytes:
    fields: dict[str, object] = {"__metadata__": {"format": "mlx"}}  # mlx-lm and transformers ask for it
    for slot in slots:
        fields[slot.name] = {
            "dtype": slot.dtype,
            "shape": list(slot.shape),
            "data_offsets": [slot.begin, slot.end],
        }
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-(_LENGTH_BYTES + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _parse_slots(fields: dict[str, dict[str, object]]) -> tuple[Slot, ...]:
    slots = []
    for name, field in fields.items():
        if name == "__metadata__":
            continue
        dtype, shape, offsets = field["dtype"], field["shape"], field["data_offsets"]
        if not (isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list)):
            raise TypeError(name)
        begin, end = (int(offset) for offset in offsets)
        lengths = tuple(int(length) for length in shape)
        if min(lengths, default=0) < 0 or end - begin != size_bytes(dtype, lengths):
            raise ValueError(name)
        slots.append(Slot(name, dtype, lengths, begin, end))
    return tuple(sorted(slots, key=lambda slot: (slot.begin, slot.end)))


def _write_hashed(file: BinaryIO, content: memoryview) -> str:
    digest = Hasher()
    for begin in range(0, len(content), CHUNK_BYTES):
        chunk = content[begin : begin + CHUNK_BYTES]
        file.write(chunk)
        digest.update(chunk)
    return digest.digest()


def _hash_slot(file: BinaryIO, slot: Slot, buffer: npt.NDArray[np.uint8], path: Path) -> str:
    digest = Hasher()
    for begin in range(slot.begin, slot.end, CHUNK_BYTES):
        chunk = memoryview(buffer[: min(CHUNK_BYTES, slot.end - begin)])
        _fill(file, chunk, path)
        digest.update(chunk)
    return digest.digest()


def _fill(file: BinaryIO, target: memoryview, path: Path) -> None:
    """Read exactly len(target) bytes from an unbuffered file, which may hand them out in pieces."""
    while target:
        count = file.readinto(target)  # type: ignore[attr-defined]  # every binary file has it; BinaryIO forgot
        if not count:
            raise BrokenCheckpoint(f"{path.name} is cut off")
        target = target[count:]
