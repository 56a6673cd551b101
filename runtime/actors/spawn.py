"""Start a child process by exec, with a tether, a pipe for its output and two pipes for frames.

Never fork without exec, never `preexec_fn`: gRPC's threads do not survive a fork, and macOS runs no code between the
two safely. The child leads its own session: a terminal's ctrl-C reaches the parent alone, and a signal to the group
reaches everything that the child started.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from runtime.actors.exit import ProcessExit
from runtime.actors.frames import Frame, FrameDecoder
from runtime.actors.outbox import Outbox


class Spawned:
    """A running child, seen from its parent: the process, its frames, and the outbox for its orders."""

    def __init__(self, process: trio.Process, frames: trio.lowlevel.FdStream, orders: Outbox) -> None:
        if process.stdout is None or process.stdin is None:
            raise ValueError("a child needs a pipe as stdin and one as stdout")
        self.process, self.frames, self.orders = process, frames, orders
        self.output: trio.abc.ReceiveStream = process.stdout
        self._tether = process.stdin
        self.decoder = FrameDecoder()
        self.heard: list[Frame] = []
        """Frames that were read while nobody knew yet whose process it would be."""
        self.reading = trio.Lock()
        """Held by whoever reads `frames`: one after the other, never two."""

    @property
    def pid(self) -> int:
        """The child's process id; also the id of its group."""
        return self.process.pid

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and all that it started. Nothing happens when nobody is left."""
        with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies
            os.killpg(self.pid, number)

    async def close(self) -> None:
        """Close every pipe, the tether last. The child must be dead or beyond reach."""
        self.orders.close()
        with trio.CancelScope(shield=True):  # closing a pipe never waits
            for stream in (self.frames, self.output, self._tether):
                await stream.aclose()


async def spawn(argv: tuple[str, ...], env: Mapping[str, str], folder: Path | None, incarnation: int) -> Spawned:
    """Start `argv` with `--incarnation N --frames-in FD --frames-out FD` appended; raises ProcessExit if it cannot.

    `env` is laid over this process's environment. The caller kills the group, waits, and closes what it gets.
    """
    with ExitStack() as on_failure:
        ours_in, theirs_out = _pipe(on_failure)
        theirs_in, ours_out = _pipe(on_failure)
        pipes = ("--incarnation", str(incarnation), "--frames-in", str(theirs_in), "--frames-out", str(theirs_out))
        try:
            process = await trio.lowlevel.open_process(
                [*argv, *pipes],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
                env={**os.environ, **env},
                cwd=folder,
            )
        except OSError as error:
            raise ProcessExit(f"cannot start {argv[0]}: {error.strerror or error}") from error
        on_failure.pop_all()
    os.close(theirs_in)
    os.close(theirs_out)
    return Spawned(process, trio.lowlevel.FdStream(ours_in), Outbox(ours_out))


def _pipe(stack: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    return reader, writer
