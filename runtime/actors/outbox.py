"""Frames on their way into a pipe: written at once when the pipe has room, otherwise kept in a bounded outbox.

A frame that is in the pipe survives a SIGKILL of its writer; one in the outbox does not. So `flush` tells the two
apart, and the outbox is used only while the reader is slow.
"""

from __future__ import annotations

import os
from collections import deque

import trio

from runtime.actors.frames import Beat, Frame, encode
from runtime.errors import ActorDown, MailboxFull

CAPACITY_FRAMES = 1024


class Outbox:
    """The writing end of a frame pipe, for one trio thread. Owns `fd` from now on; `close` gives it back."""

    def __init__(self, fd: int, capacity: int = CAPACITY_FRAMES) -> None:
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)
        self._fd = fd
        self._capacity = capacity
        self._waiting: deque[tuple[bool, bytes]] = deque()
        self._cut = b""
        """The rest of a frame whose beginning is in the pipe already."""
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._emptied.set()
        self._broken = False

    def put(self, frame: Frame) -> None:
        """Write now, or enqueue when the pipe is full; returns at once.

        A Beat replaces one that still waits, and is dropped when the outbox is full: the next one says more. For
        others raises MailboxFull then; ActorDown when the reader is gone; FrameError for what is no frame.
        """
        if self._broken:
            raise ActorDown("the other end of the frame pipe is closed")
        is_beat = isinstance(frame, Beat)
        if is_beat:
            self._waiting = deque(item for item in self._waiting if not item[0])
        if len(self._waiting) >= self._capacity:
            if is_beat:
                return
            raise MailboxFull(f"{self._capacity} frames wait already; the reader is too slow")
        self._waiting.append((is_beat, encode(frame)))
        self._write_what_fits()

    async def flush(self) -> None:
        """Return when everything that was put is in the pipe; raises ActorDown when the reader is gone."""
        await trio.lowlevel.checkpoint()
        await self._emptied.wait()
        if self._broken:
            raise ActorDown("the other end of the frame pipe is closed")

    async def run(self) -> None:
        """Write what waits whenever the pipe has room; the owner's nursery runs this. Ends when the reader is gone."""
        while not self._broken:
            await self._filled.wait()
            while not self._emptied.is_set():
                await trio.lowlevel.wait_writable(self._fd)
                self._write_what_fits()

    def close(self) -> None:
        """Close the pipe; what waits is dropped."""
        self._break()
        os.close(self._fd)

    def _write_what_fits(self) -> None:
        try:
            while self._cut or self._waiting:
                if not self._cut:
                    self._cut = self._waiting.popleft()[1]
                self._cut = self._cut[os.write(self._fd, self._cut) :]
        except BlockingIOError:
            if self._emptied.is_set():
                self._emptied = trio.Event()
            self._filled.set()
        except BrokenPipeError:
            self._break()
        else:
            self._emptied.set()
            if self._filled.is_set():
                self._filled = trio.Event()

    def _break(self) -> None:
        self._broken = True
        self._waiting.clear()
        self._cut = b""
        self._filled.set()
        self._emptied.set()
