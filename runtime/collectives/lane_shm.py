"""The lane between two processes of one host: payloads in shared memory, headers through a unix socket.

The sender owns a few slots in an anonymous memory file and passes its descriptor over the socket, so there is no name
that could outlive a killed process. A message is a payload written into a free slot and a header (64 bytes) on the
socket; the receiver adds straight from the slot and then returns its number (one byte). The socket's end of file is the
news that the other process died, however it died.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import partial

import numpy as np

from runtime.collectives.carrier import Carried
from runtime.collectives.codec import Bytes
from runtime.collectives.frame import HEADER_BYTES, HELLO_BYTES, Header, Hello
from runtime.collectives.reduction import Outgoing
from runtime.collectives.wake import Wake
from runtime.errors import ProtocolError
from runtime.ids import Rank

_GEOMETRY = struct.Struct("<II")
_ACCEPTED = b"+"
MOST_SLOTS = 255
"""A slot's number travels back as one byte."""
CONNECT_SECONDS = 10.0
"""A listener that does not answer within this time is not used."""


@dataclass(frozen=True)
class Slots:
    """How a lane's memory is cut. All of it may be full of early or unsummed messages; then the sender waits."""

    count: int
    size_bytes: int


def memory_file(size_bytes: int) -> int:
    """A descriptor of `size_bytes` of shareable memory without a name; the caller closes it."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("mlxd-lane", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size_bytes)
    return descriptor


def _map(descriptor: int, slots: Slots) -> list[Bytes]:
    """The slots as byte arrays; the mapping lives as long as one of them does. Closes the descriptor."""
    try:
        memory = mmap.mmap(descriptor, slots.count * slots.size_bytes)
    finally:
        os.close(descriptor)
    flat: Bytes = np.frombuffer(memory, np.uint8)
    return list(flat.reshape(slots.count, slots.size_bytes))


class ShmSender:
    """The sending side; `run` works in the lane's thread until the connection ends or `close` is called."""

    def __init__(self, hello: Hello, peer: Rank, traffic: Carried, slots: Slots) -> None:
        self._hello, self._peer, self._traffic, self._geometry = hello, peer, traffic, slots
        self._socket = socket.socket(socket.AF_UNIX)
        self._slots: list[Bytes] = []
        self._free = list(range(slots.count))
        self._wake = Wake()

    def connect(self, path: str) -> None:
        """Call a listener and hand over the memory; raises OSError when nobody fitting listens there."""
        slots = self._geometry
        self._socket.settimeout(CONNECT_SECONDS)
        self._socket.connect(path)
        descriptor = memory_file(slots.count * slots.size_bytes)
        opening = self._hello.pack() + _GEOMETRY.pack(slots.count, slots.size_bytes)
        socket.send_fds(self._socket, [opening], [descriptor])
        self._slots = _map(descriptor, slots)
        if self._socket.recv(1) != _ACCEPTED:
            raise ConnectionRefusedError(f"rank {self._peer} refused the shared-memory lane")
        self._socket.settimeout(None)

    def run(self) -> None:
        """Carry messages until the connection ends; raises OSError when the other side broke it."""
        while True:
            outgoing = self._traffic.take(self._peer) if self._free else None
            if outgoing is None:
                self._wake.prepare()
                outgoing = self._traffic.take(self._peer) if self._free else None
                if outgoing is None:
                    self._wake.wait(self._socket)
                    if not self._collect():
                        return
                    continue
                self._wake.awake()
            self._send(outgoing)

    def kick(self) -> None:
        """There may be a message to take."""
        self._wake.kick()

    def _send(self, outgoing: Outgoing) -> None:
        slot = self._free.pop()
        try:
            outgoing.write(self._slots[slot][: outgoing.payload_bytes])
            self._socket.sendall(outgoing.header.pack(slot))
        except BaseException:
            self._traffic.outgoing_lost(self._peer, self._hello.target)  # before `done`: it was not sent
            raise
        finally:
            outgoing.done()

    def _collect(self) -> bool:
        """Take back the slots that the receiver returned; False at the end of the connection."""
        try:
            returned = self._socket.recv(256, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        self._free.extend(returned)
        return bool(returned)

    def finish(self) -> None:
        """Nothing follows. What was sent lies in the receiver's socket and in memory that outlives this process."""
        self.close()

    def close(self) -> None:
        """Break the connection (the receiver notices) and wake `run`; safe from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Give the descriptors back; only after `run` has returned."""
        self._socket.close()
        self._wake.close()


class ShmListener:
    """Accepts the lanes of the peers on this host: one thread, and one more for each lane."""

    def __init__(self, traffic: Carried, session: int, *, abstract: bool = sys.platform == "linux") -> None:
        """`abstract`: use a socket name that leaves no file behind even after a kill (Linux only)."""
        self._traffic, self._session = traffic, session
        self._folder = None if abstract else tempfile.mkdtemp(prefix="mlxd-")
        self.path = f"\0mlxd-{session:016x}" if self._folder is None else f"{self._folder}/lane"
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(self.path)
        except OSError:
            self._socket.close()
            raise
        self._socket.listen(64)
        self._wake = Wake()
        self._wake.prepare()
        self._lock = threading.Lock()
        self._lanes: dict[threading.Thread, socket.socket] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="lane-accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Break every incoming lane and join all threads. The traffic must be closed first: it wakes blocked lanes."""
        self._closed = True
        self._wake.kick()
        self._thread.join()
        with self._lock:
            lanes = dict(self._lanes)
        for connection in lanes.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in lanes:
            thread.join()
        self._socket.close()
        self._wake.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            self._wake.wait(self._socket)
            self._wake.prepare()
            if self._closed:
                return
            self._socket.setblocking(False)
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                continue
            connection.setblocking(True)
            thread = threading.Thread(target=self._serve, args=(connection,), name="lane-in", daemon=True)
            with self._lock:
                self._lanes[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """The thread of one incoming lane; ends with the connection."""
        try:
            with connection, contextlib.suppress(OSError, ProtocolError):
                hello, slots = self._handshake(connection)
                self._traffic.opened(hello)
                try:
                    connection.sendall(_ACCEPTED)
                    self._receive(connection, hello, slots)
                finally:
                    self._traffic.incoming_lost(hello)
        finally:
            with self._lock:
                self._lanes.pop(threading.current_thread(), None)

    def _handshake(self, connection: socket.socket) -> tuple[Hello, list[Bytes]]:
        opening, descriptors, _, _ = socket.recv_fds(connection, HELLO_BYTES + _GEOMETRY.size, 1)
        try:
            hello = Hello.unpack(opening[:HELLO_BYTES]).check(self._traffic.run, self._session)
            slots = Slots(*_GEOMETRY.unpack(opening[HELLO_BYTES:]))
            size_bytes = os.fstat(descriptors[0]).st_size if len(descriptors) == 1 else 0
            if not 0 < slots.count * slots.size_bytes <= size_bytes or slots.count > MOST_SLOTS:
                raise ProtocolError(f"rank {hello.rank} shares less memory than it says")  # reading it would be SIGBUS
            mapped = _map(os.dup(descriptors[0]), slots)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return hello, mapped

    def _receive(self, connection: socket.socket, hello: Hello, slots: list[Bytes]) -> None:
        buffer = bytearray(HEADER_BYTES)
        while connection.recv_into(buffer, HEADER_BYTES, socket.MSG_WAITALL) == HEADER_BYTES:
            header, slot = Header.unpack(buffer)
            if slot >= len(slots) or header.payload_bytes > slots[slot].size:
                raise ProtocolError(f"rank {hello.rank} sent a header that does not fit its memory")
            self._traffic.deliver(
                hello, header, slots[slot][: header.payload_bytes], partial(_give_back, connection, slot)
            )


def _give_back(connection: socket.socket, slot: int) -> None:
    """Return a slot to the sender, from whichever thread added its payload."""
    with contextlib.suppress(OSError):  # the sender is gone; nobody needs the slot
        connection.send(bytes((slot,)))
