"""A child's stdout and stderr: drained always (a full pipe would stop it), kept in a file and as a short tail."""

from __future__ import annotations

from pathlib import Path

import trio

from runtime.actors.exit import TAIL_BYTES

_READ_BYTES = 65536


class LogDrain:
    """Appends what a child prints to its log file and remembers the last 16 KB of this incarnation.

    A log that cannot be written (full disk) costs the file, never the child: `problem` says so, the tail goes on.
    """

    def __init__(self, path: Path, tail_bytes: int = TAIL_BYTES) -> None:
        self.path = path
        self.problem = ""
        self._tail_bytes = tail_bytes
        self._tail = b""

    @property
    def tail(self) -> str:
        """The last output, with a word about the log file if that failed."""
        text = self._tail.decode(errors="replace")
        return f"{text}\n[{self.problem}]" if self.problem else text

    async def run(self, output: trio.abc.ReceiveStream) -> None:
        """Drain `output` to its end; the file is written in a worker thread, for a disk may take its time."""
        while chunk := await output.receive_some(_READ_BYTES):
            self._tail = (self._tail + chunk)[-self._tail_bytes :]
            if not self.problem:
                await trio.to_thread.run_sync(self._append, bytes(chunk), abandon_on_cancel=True)  # a disk may hang

    def _append(self, chunk: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(chunk)
        except OSError as error:
            self.problem = f"the log {self.path} is incomplete: {error.strerror or error}"
