"""The 64 bytes in front of every payload of the data plane, and who is at the other end of a lane.

Little-endian, fixed size, no protobuf: a header is packed and read about as fast as a tuple.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from runtime.collectives.codec import WireDtype
from runtime.collectives.exchange import Phase, key_of
from runtime.errors import ProtocolError
from runtime.ids import Generation, Rank, RunId, Step

HEADER_BYTES = 64
_HEADER = struct.Struct("<4sBBHQQQQIIQQ")
_MAGIC = b"mlxD"
_PHASES = {int(phase): phase for phase in Phase}
_WIRES = {int(wire): wire for wire in WireDtype}
_HELLO = struct.Struct("<4sHxxQQQ")
HELLO_BYTES = _HELLO.size


def run_hash(run: RunId) -> int:
    """64 bits that tell runs apart on a host where several of them use the network."""
    return int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Hello:
    """The first bytes on a lane: which run, which rank, and which life of that rank."""

    run: int
    rank: Rank
    session: int
    """A random number drawn when the caller's peer was opened; it is also in its address."""
    target: int
    """The session that the caller means to reach: a successor on the same port refuses, and so does a stranger."""

    def check(self, run: int, session: int) -> Hello:
        """This hello; raises ProtocolError unless it means the peer of that run and session."""
        if self.run != run or self.target != session:
            raise ProtocolError(f"rank {self.rank} means another peer than this one")
        return self

    def pack(self) -> bytes:
        """`HELLO_BYTES` bytes."""
        return _HELLO.pack(_MAGIC, self.rank, self.run, self.session, self.target)

    @staticmethod
    def unpack(data: bytes) -> Hello:
        """Raises ProtocolError for bytes that are no hello."""
        if len(data) != HELLO_BYTES or data[:4] != _MAGIC:
            raise ProtocolError("something that is not a peer of mlx-distributed called the data port")
        _, rank, run, session, target = _HELLO.unpack(data)
        return Hello(run, Rank(rank), session, target)


@dataclass(frozen=True)
class Header:
    """What one message carries: elements `start` to `start + count` of a vector of `elements`."""

    phase: Phase
    wire: WireDtype
    generation: Generation
    step: Step
    run: int
    elements: int
    """Size of the whole vector: two ranks that disagree train different models."""
    piece: int
    term: int
    start: int
    count: int

    @property
    def key(self) -> tuple[int, int]:
        """Orders messages as exchanges are ordered."""
        return key_of(self.generation, self.step, self.phase)

    @property
    def payload_bytes(self) -> int:
        """Length of what follows."""
        return self.count * self.wire.element_bytes

    def pack(self, slot: int = 0) -> bytes:
        """`HEADER_BYTES` bytes; `slot` says where a shared-memory lane put the payload."""
        return _HEADER.pack(
            _MAGIC, self.phase, self.wire, slot, self.generation, self.step, self.run,
            self.elements, self.piece, self.term, self.start, self.count,
        )  # fmt: skip

    @staticmethod
    def unpack(data: bytes | bytearray | memoryview) -> tuple[Header, int]:
        """The header and its slot, from the first `HEADER_BYTES` bytes; raises ProtocolError when they are none."""
        if len(data) < HEADER_BYTES:
            raise ProtocolError(f"a message of {len(data)} bytes is shorter than its header")
        magic, phase, wire, slot, generation, step, run, elements, piece, term, start, count = _HEADER.unpack_from(data)
        if magic != _MAGIC or phase not in _PHASES or wire not in _WIRES:
            raise ProtocolError("a message that is not of mlx-distributed came in on the data port")
        kind, dtype = _PHASES[phase], _WIRES[wire]
        header = Header(kind, dtype, Generation(generation), Step(step), run, elements, piece, term, start, count)
        return header, slot


@dataclass(frozen=True)
class Address:
    """Where a peer listens and which life of it is meant, written `host:port#session`."""

    target: str
    session: int

    def __str__(self) -> str:
        return f"{self.target}#{self.session:016x}"

    @staticmethod
    def parse(text: str) -> Address:
        """The inverse of str(); raises ValueError."""
        target, mark, session = text.rpartition("#")
        if not (target and mark):
            raise ValueError(f"{text!r} is not the address of a peer (host:port#session)")
        return Address(target, int(session, 16))
