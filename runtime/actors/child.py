"""The child's side of a process actor: attach to the parent, send frames, receive orders.

def main() -> None:                    # of a module that `runtime.launch` runs: the tether is armed already
    pipes = child.Pipes.of(parser.parse_args())
    trio.run(work, pipes)

async def work(pipes: Pipes) -> None:
    async with attached(pipes, {"rank": "0"}) as parent:       # the parent's actor is ready now
        async for order in parent.orders: ...                  # ends with the order to stop
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any

import trio

from runtime import tether
from runtime.actors.frames import STOP, Beat, Fact, FrameDecoder, FrameError, Hello, Order, Report
from runtime.actors.mailbox import Mailbox
from runtime.actors.outbox import Outbox
from runtime.errors import ActorDown
from runtime.ids import Incarnation

_READ_BYTES = 65536
_FLUSH_SECONDS = 2.0
"""How long a child that is done waits for its parent to take the last frames."""


@dataclass(frozen=True)
class Pipes:
    """What a process actor appends to its child's command line: who it is, and where its frames go."""

    incarnation: Incarnation
    frames_in: int
    frames_out: int

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Let `parser` accept `--incarnation N --frames-in FD --frames-out FD`."""
        for name, meaning in (
            ("--incarnation", "how often this slot was started, from 1"),
            ("--frames-in", "file descriptor of the parent's orders"),
            ("--frames-out", "file descriptor for this process's frames"),
        ):
            parser.add_argument(name, type=int, required=True, metavar="N", help=meaning)

    @staticmethod
    def of(args: argparse.Namespace) -> Pipes:
        """The pipes that the parsed command line names."""
        return Pipes(Incarnation(args.incarnation), args.frames_in, args.frames_out)


class Parent:
    """The parent as its child sees it. For the trio thread only; other threads go through `trio.from_thread`.

    `fact`, `fact_now` and `report` raise ActorDown when the parent closed its end: it is dying, and the tether follows.
    """

    def __init__(self, pipes: Pipes, orders: int) -> None:
        self.orders: Mailbox[Order] = Mailbox(orders)
        """What the parent wants, in order. Ends when it wants this process to stop, or is gone.

        A process that lets more orders wait than it announced crashes with MailboxFull, so read or expect none.
        """
        self.stopping = trio.Event()
        """Set with the order to stop, even while earlier orders still wait in `orders`."""
        self._outbox = Outbox(pipes.frames_out)
        os.set_inheritable(pipes.frames_in, False)
        self._stream = trio.lowlevel.FdStream(pipes.frames_in)

    def beat(self, step: int, phase: str) -> None:
        """Say where this process is; returns at once. Only the newest waits when the parent is slow."""
        self._outbox.put(Beat(step, phase))

    def fact(self, event: Mapping[str, Any], reports: Mapping[str, Any] | None = None) -> None:
        """Send an event, and the reports (by kind) that are true from it on, as one: the parent hears all or nothing.

        Returns at once. Raises MailboxFull when a thousand frames wait for a slow parent.
        """
        self._outbox.put(Fact(event, reports or {}))

    async def fact_now(self, event: Mapping[str, Any]) -> None:
        """Send an event and return when it is in the pipe: from then on it survives a SIGKILL of this process."""
        self._outbox.put(Fact(event))
        await self._outbox.flush()

    def report(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send something of a kind that the parent knows; returns at once. Raises MailboxFull like `fact`."""
        self._outbox.put(Report(kind, body))

    async def flush(self) -> None:
        """Return when everything that was sent is in the pipe."""
        await self._outbox.flush()

    async def _receive(self) -> None:
        decoder = FrameDecoder()
        try:
            while chunk := await self._stream.receive_some(_READ_BYTES):
                for frame in decoder.feed(chunk):
                    if not isinstance(frame, Order):
                        raise FrameError(f"a parent sends orders only, not {type(frame).__name__}")
                    if frame.kind == STOP:
                        return
                    self.orders.try_put(frame)  # waiting here would keep the order to stop from being heard
        finally:
            self.stopping.set()
            self.orders.seal()


@asynccontextmanager
async def attached(pipes: Pipes, info: Mapping[str, str], *, orders: int = 64) -> AsyncIterator[Parent]:
    """Tie this process to its parent, say Hello, and exchange frames until the block ends.

    Arms the tether if the main function has not. Stray prints go to the log with stderr, line by line. At the end of
    the block the last frames are written, for 2 seconds at most. Errors of the block come out as they were raised.
    """
    tether.arm()
    _send_prints_to_the_log()
    parent = Parent(pipes, orders)
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent._outbox.run)
        nursery.start_soon(parent._receive)
        parent._outbox.put(Hello(os.getpid(), dict(info)))
        try:
            yield parent
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # re-raised below, outside the nursery's group
            failure = error
        with trio.move_on_after(_FLUSH_SECONDS, shield=True), suppress(ActorDown):
            await parent.flush()
        nursery.cancel_scope.cancel()
    parent._outbox.close()
    parent._stream.close()
    if failure is not None:
        raise failure


def _send_prints_to_the_log() -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable()
