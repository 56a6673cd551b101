"""A program in a terminal of its own: what it writes, and what it does when the terminal goes away."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence


class Terminal:
    """A child on a pseudo-terminal. Close it, or it is killed by `end`."""

    def __init__(
        self, words: Sequence[str], *, size: tuple[int, int] = (100, 30), env: Mapping[str, str], hangs_on: bool = False
    ) -> None:
        """`hangs_on`: the child ignores SIGHUP, as under nohup or a dropped SSH connection."""
        self.began = time.monotonic()
        self.written = 0
        """Bytes that the child wrote so far."""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            if hangs_on:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.execvpe(words[0], list(words), {**os.environ, **env})

    def read(self, within_seconds: float, until: bytes = b"") -> bytes:
        """What the child writes within the time, or until it has written `until`, or ends."""
        found, give_up_at = b"", time.monotonic() + within_seconds
        while (left := give_up_at - time.monotonic()) > 0:
            if not select.select([self.file], [], [], left)[0]:
                break
            try:
                data = os.read(self.file, 1 << 16)
            except OSError:  # the child closed its side
                break
            found += data
            self.written += len(data)
            if not data or (until and until in found):
                break
        return found

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.file, keys.encode())

    def resize(self, size: tuple[int, int]) -> None:
        """The window gets another size (columns, rows); the kernel tells the child."""
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def hang_up(self) -> None:
        """The terminal is gone."""
        os.close(self.file)
        self.file = -1

    def cpu_seconds(self) -> float:
        """What the child has computed so far, its threads included (Linux)."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ended(self, within_seconds: float) -> int | None:
        """The child's exit code (128 + N for a signal), None if it still runs."""
        give_up_at = time.monotonic() + within_seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if time.monotonic() > give_up_at:
                return None
            select.select([], [], [], 0.01)

    def end(self) -> None:
        """Whatever happens, nothing is left behind."""
        if self.file >= 0:
            os.close(self.file)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
