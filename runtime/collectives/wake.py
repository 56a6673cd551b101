"""Wakes one sleeping lane thread, which may sleep on a socket at the same time."""

from __future__ import annotations

import select
import socket


class Wake:
    """A flag and a socket pair: a kick costs a system call only when the thread sleeps.

    The sleeper calls `prepare`, looks once more for work, and then `wait`s: a kick in between is not lost.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._sleeping = False

    def kick(self) -> None:
        """Wake the thread if it sleeps or is about to."""
        if self._sleeping:
            try:
                self._writer.send(b"k")
            except OSError:
                return  # full: it is awake anyway; closed: it is gone

    def prepare(self) -> None:
        """From now on kicks are kept for the next `wait`."""
        self._sleeping = True

    def wait(self, also: socket.socket | None = None) -> None:
        """Sleep until a kick came or `also` is readable (or at its end)."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if also is not None:
            poll.register(also, select.POLLIN)
        poll.poll()
        self.awake()

    def awake(self) -> None:
        """Forget kicks: the thread looks for work itself now."""
        self._sleeping = False
        try:
            while self._reader.recv(64):
                pass
        except OSError:
            return  # nothing (more) to forget

    def close(self) -> None:
        """Close both ends; call it after the thread has ended."""
        self._reader.close()
        self._writer.close()
