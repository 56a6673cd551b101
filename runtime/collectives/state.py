"""Hands the state after a step to a peer that has none: a newcomer pulls it in chunks from several peers at once.

The holder keeps references to immutable arrays, so holding costs no copy. The puller takes chunks from one shared list,
so a fast source gives more, and a source that dies gives its chunk back to the list. Every chunk carries its blake2b.
"""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.collectives.frame import Address
from runtime.collectives.lane_grpc import channel_to, unary
from runtime.errors import PeerLost, ProtocolError
from runtime.ids import Step
from runtime.rpc.library import grpc

State: TypeAlias = Mapping[str, npt.NDArray[Any]]

CHUNK_BYTES = 4 << 20
DIGEST_BYTES = 16
CHUNK_SECONDS = 30.0
"""A source that needs longer for one chunk is treated as lost; the others go on."""
_REQUEST = struct.Struct("<QQIQI")


def digest(data: Any) -> bytes:
    """The checksum of a chunk: 16 bytes of blake2b."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True)
class Tensor:
    """One entry of a manifest."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


class StateStore:
    """What this peer can serve. Its methods may be called from any thread; serving runs on the server's threads."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._held: dict[Step, tuple[tuple[Tensor, ...], list[memoryview]]] = {}

    def hold(self, step: Step, state: State) -> None:
        """Serve `state` as the one after `step`; the arrays must not change until `release`. Other steps stay held."""
        arrays = {name: np.ascontiguousarray(array) for name, array in sorted(state.items())}
        tensors = tuple(
            Tensor(name, array.dtype.str, np.shape(state[name]), array.nbytes) for name, array in arrays.items()
        )
        views = [memoryview(array.reshape(-1).view(np.uint8)) for array in arrays.values()]
        with self._lock:
            self._held[step] = tensors, views

    def release(self, step: Step) -> None:
        """Stop serving `step`; pulls in flight fail over to other sources."""
        with self._lock:
            self._held.pop(step, None)

    def manifest(self, request: bytes) -> bytes:
        """The RPC `Manifest`: names, dtypes and shapes of a held step."""
        session, step = struct.unpack("<QQ", request)
        tensors, _ = self._find(session, Step(step))
        return json.dumps([[each.name, each.dtype, each.shape, each.size_bytes] for each in tensors]).encode()

    def chunk(self, request: bytes) -> bytes:
        """The RPC `Chunk`: digest and bytes of one range of one tensor."""
        session, step, index, offset, length = _REQUEST.unpack(request)
        _, views = self._find(session, Step(step))
        part = views[index][offset : offset + length]
        return b"".join((digest(part), part))

    def _find(self, session: int, step: Step) -> tuple[tuple[Tensor, ...], list[memoryview]]:
        with self._lock:
            held = self._held.get(step)
        if held is None or session != self._session:
            raise ProtocolError(f"the state after step {step} is not held here")
        return held


def fetch_state(step: Step, sources: Sequence[str], chunk_bytes: int = CHUNK_BYTES) -> dict[str, npt.NDArray[Any]]:
    """The state after `step`, pulled from the peers at `sources` in parallel; blocks.

    A source that dies, releases the step or sends a broken chunk is dropped. Raises PeerLost when none is left, and
    ProtocolError when two sources hold states of different shape.
    """
    pull = _Pull(step, chunk_bytes)
    threads = [
        threading.Thread(target=pull.run, args=(Address.parse(source),), name="state-pull", daemon=True)
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pull.result()


class _Pull:
    def __init__(self, step: Step, chunk_bytes: int) -> None:
        self._step, self._chunk_bytes = step, chunk_bytes
        self._changed = threading.Condition()
        self._tensors: tuple[Tensor, ...] | None = None
        self._buffers: list[npt.NDArray[np.uint8]] = []
        self._todo: deque[tuple[int, int, int]] = deque()
        self._missing = 0
        self._clash = False
        self._reasons: list[str] = []

    def run(self, source: Address) -> None:
        """The thread of one source: chunks until none is missing, or until the source fails."""
        channel = channel_to(source.target)
        try:
            reply = unary(channel, "Manifest")(struct.pack("<QQ", source.session, self._step), timeout=CHUNK_SECONDS)
            self._agree(tuple(Tensor(n, d, tuple(shape), size) for n, d, shape, size in json.loads(reply)))
            call = unary(channel, "Chunk")
            while (todo := self._next()) is not None:
                try:
                    self._pull(call, source, todo)
                except BaseException:
                    self._give_back(todo)
                    raise
        except (grpc.RpcError, ProtocolError) as error:
            self._reasons.append(f"{source.target}: {error.details() if isinstance(error, grpc.Call) else error}")
        finally:
            channel.close()

    def result(self) -> dict[str, npt.NDArray[Any]]:
        """What was pulled, if it is complete."""
        if self._clash:
            raise ProtocolError(f"the peers hold different states for step {self._step}: {'; '.join(self._reasons)}")
        if self._tensors is None or self._missing:
            raise PeerLost(f"no peer could give the whole state after step {self._step}: {'; '.join(self._reasons)}")
        return {
            tensor.name: buffer.view(np.dtype(tensor.dtype)).reshape(tensor.shape)
            for tensor, buffer in zip(self._tensors, self._buffers, strict=True)
        }

    def _agree(self, tensors: tuple[Tensor, ...]) -> None:
        with self._changed:
            if self._tensors is None:
                self._tensors = tensors
                self._buffers = [np.empty(tensor.size_bytes, np.uint8) for tensor in tensors]
                self._todo.extend(
                    (index, offset, min(self._chunk_bytes, tensor.size_bytes - offset))
                    for index, tensor in enumerate(tensors)
                    for offset in range(0, tensor.size_bytes, self._chunk_bytes)
                )
                self._missing = len(self._todo)
            elif self._tensors != tensors:
                self._clash = True
                raise ProtocolError("names, dtypes or shapes differ from another source's")

    def _next(self) -> tuple[int, int, int] | None:
        """A chunk to pull; waits while others still pull the last ones, for they may fail."""
        with self._changed:
            self._changed.wait_for(lambda: self._todo or not self._missing)
            return self._todo.popleft() if self._todo else None

    def _give_back(self, todo: tuple[int, int, int]) -> None:
        with self._changed:
            self._todo.append(todo)
            self._changed.notify_all()

    def _pull(self, call: Any, source: Address, todo: tuple[int, int, int]) -> None:
        index, offset, length = todo
        request = _REQUEST.pack(source.session, self._step, index, offset, length)
        reply = memoryview(call(request, timeout=CHUNK_SECONDS))
        data = reply[DIGEST_BYTES:]
        if len(data) != length or digest(data) != reply[:DIGEST_BYTES]:
            raise ProtocolError(f"a chunk of tensor {index} arrived broken")
        self._buffers[index][offset : offset + length] = np.frombuffer(data, np.uint8)
        with self._changed:
            self._missing -= 1
            self._changed.notify_all()
