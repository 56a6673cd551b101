"""Our own commands as child processes: what exists as a command is not written a second time for the screen."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import NamedTuple

SECONDS = 600.0
"""A checkpoint of many GB may be verified so long."""
PROGRAM = (sys.executable, "-P", "-c", "from console.cli.main import entry; entry()")
"""This program, whatever the working directory holds."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str

    @property
    def sentence(self) -> str:
        """Its last word: the error of one that failed, the last line of one that did not."""
        said = (self.error if self.code else self.out or self.error).strip().splitlines()
        return said[-1].removeprefix("error: ") if said else ("done" if self.code == 0 else f"exit code {self.code}")


async def command(*words: str, within_seconds: float = SECONDS) -> Done:
    """Run `mlx-distributed WORDS` to its end; a command that takes too long is killed, and so is one whose caller is
    cancelled."""
    child = _started(words)
    try:  # a thread waits, because the loop may end before a transport of its own would notice the child's end
        out, error = await asyncio.to_thread(child.communicate, timeout=within_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        await asyncio.to_thread(child.communicate)
        return Done(1, "", f"`mlx-distributed {' '.join(words)}` has not ended within {within_seconds:g} s")
    finally:
        if child.poll() is None:
            child.kill()  # its caller is gone; the thread, which ends with it, collects it
    return Done(child.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace"))


def _started(words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
    )
