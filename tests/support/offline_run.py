"""What Weights & Biases wrote for a run without a network: the records of its `.wandb` file.

The file is a log in LevelDB's form: seven bytes of header, then blocks of 32 KiB of chunks, each with a checksum, a
length and whether it is a whole record (1) or its first, middle or last part (2, 3, 4).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FILE_HEADER, _BLOCK, _HEADER = 7, 32768, struct.Struct("<IHB")


def records(path: Path) -> Iterator[Any]:
    """Every record of the file, as wandb's own protobuf message."""
    from wandb.proto import wandb_internal_pb2 as pb

    raw, at, record = path.read_bytes(), _FILE_HEADER, b""
    while at + _HEADER.size <= len(raw):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:
            at += left
            continue
        _, length, kind = _HEADER.unpack_from(raw, at)
        at += _HEADER.size
        record += raw[at : at + length]
        at += length
        if kind in {1, 4}:
            yield pb.Record.FromString(record)
            record = b""


def history(path: Path) -> list[dict[str, Any]]:
    """The rows that were logged, nested names joined by dots."""
    rows = (record.history for record in records(path) if record.WhichOneof("record_type") == "history")
    return [{".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row.item} for row in rows]
