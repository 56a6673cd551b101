"""Frames between a process and its children: a length of 4 bytes, big-endian, then that many bytes of a JSON object.

child -> parent   Hello once, then Beat (step and phase), Fact (an event), Report (anything else, by kind)
parent -> child   Order, by kind; the kind `stop` is built in
A frame is small and complete or it is an error: these pipes carry decisions, never data.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runtime.errors import ProtocolError

MAX_FRAME_BYTES = 1 << 20
STOP = "stop"
_LENGTH = struct.Struct(">I")


class FrameError(ProtocolError):
    """The bytes on a frame pipe are not frames; nothing after them can be trusted."""


@dataclass(frozen=True)
class Hello:
    """The child is up and attached."""

    pid: int
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Beat:
    """The child is alive and here: `step` must grow for it to count as progress."""

    step: int
    phase: str


@dataclass(frozen=True)
class Fact:
    """An event that happened in the child, already in the journal's form."""

    event: Mapping[str, Any]
    reports: Mapping[str, Any] = field(default_factory=dict)
    """Reports, by kind, that are true from this event on. One frame: no kill comes between an event and them."""


@dataclass(frozen=True)
class Report:
    """Something of a named kind that the parent knows how to read."""

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What the parent wants; kind `stop` asks the child to finish and exit 0."""

    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)


Frame: TypeAlias = Hello | Beat | Fact | Report | Order
_TYPES: dict[str, type[Hello | Beat | Fact | Report | Order]] = {
    "hello": Hello,
    "beat": Beat,
    "fact": Fact,
    "report": Report,
    "order": Order,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_FIELDS: dict[str, dict[str, type]] = {
    "hello": {"pid": int, "info": dict},
    "beat": {"step": int, "phase": str},
    "fact": {"event": dict, "reports": dict},
    "report": {"kind": str, "body": dict},
    "order": {"kind": str, "body": dict},
}


def encode(frame: Frame) -> bytes:
    """The bytes of `frame`; raises FrameError when it is longer than MAX_FRAME_BYTES or holds what JSON cannot."""
    try:
        body = json.dumps({"t": _NAMES[type(frame)], **vars(frame)}, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise FrameError(f"a {type(frame).__name__} that is not JSON: {error}") from None
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a {type(frame).__name__} of {len(body)} bytes; a frame holds {MAX_FRAME_BYTES} at most")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Turns chunks of bytes, cut anywhere, into frames. After a FrameError it refuses everything."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken = ""

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete; at the end of the pipe: what a kill cut off."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take `chunk` and yield the frames that are complete now, in order.

        Raises FrameError at the first bytes that are no frame, after the good frames before them, and ever after.
        """
        self._buffer += chunk
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        while not self._broken and len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if length > MAX_FRAME_BYTES:
                self._broken = f"a frame of {length} bytes was announced; {MAX_FRAME_BYTES} is the limit"
            elif len(self._buffer) < end:
                return
            else:
                body = bytes(self._buffer[_LENGTH.size : end])
                del self._buffer[:end]
                try:
                    frame = _decode(body)
                except FrameError as error:
                    self._broken = str(error)
                else:
                    yield frame
        if self._broken:
            raise FrameError(self._broken)


def _decode(body: bytes) -> Frame:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise FrameError(f"not JSON: {body[:40]!r}") from None
    name = value.get("t") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in _TYPES:
        raise FrameError(f"not a frame of a known type: {body[:40]!r}")
    del value["t"]
    fields = _FIELDS[name]
    if value.keys() != fields.keys() or not all(type(value[key]) is kind for key, kind in fields.items()):
        raise FrameError(f"a {name} frame with the wrong fields: {body[:80]!r}")
    if name == "hello" and not all(isinstance(text, str) for text in value["info"].values()):
        raise FrameError(f"a hello frame whose info is not text: {body[:80]!r}")
    return _TYPES[name](**value)
