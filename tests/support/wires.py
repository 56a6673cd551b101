"""A child's side of its two pipes, with the parent's ends in the hands of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.actors import Frame, FrameDecoder, Order, encode
from runtime.actors.child import Parent, Pipes
from runtime.ids import Incarnation


@dataclass
class Wires:
    """The two pipes of a child's `Parent`, seen from the other ends."""

    parent: Parent
    orders_fd: int
    frames_fd: int

    def order(self, kind: str, **body: object) -> None:
        os.write(self.orders_fd, encode(Order(kind, body)))

    def frames(self) -> list[Frame]:
        """Every frame that is in the pipe by now."""
        try:
            return list(FrameDecoder().feed(os.read(self.frames_fd, 1 << 20)))
        except BlockingIOError:
            return []


@contextmanager
def wires() -> Iterator[Wires]:
    orders_in, orders_out = os.pipe()
    frames_in, frames_out = os.pipe()
    os.set_blocking(frames_in, False)
    parent = Parent(Pipes(Incarnation(2), orders_in, frames_out), 64)
    try:
        yield Wires(parent, orders_out, frames_in)
    finally:
        parent._outbox.close()
        parent._stream.close()
        os.close(orders_out)
        os.close(frames_in)
