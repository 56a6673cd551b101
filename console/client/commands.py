"""Our own commands as child processes: what exists as a command is not written a second time for the screen."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
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
    return await executed((*PROGRAM, *words), within_seconds=within_seconds)


async def executed(argv: Sequence[str], *, within_seconds: float = SECONDS) -> Done:
    """Run a program to its end, as `command` does."""
    try:
        child = _started(argv)
    except OSError as failed:
        return Done(1, "", f"{argv[0]} cannot be started: {failed.strerror}")
    try:  # a thread waits, because the loop may end before a transport of its own would notice the child's end
        out, error = await asyncio.to_thread(child.communicate, timeout=within_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        await asyncio.to_thread(child.communicate)
        return Done(1, "", f"{_named(argv)} has not ended within {within_seconds:g} s")
    finally:
        if child.poll() is None:
            child.kill()  # its caller is gone; the thread, which ends with it, collects it
    return Done(child.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace"))


def _named(argv: Sequence[str]) -> str:
    own = len(PROGRAM)
    return f"`{shlex.join(['mlx-distributed', *argv[own:]] if tuple(argv[:own]) == PROGRAM else argv)}`"


def _started(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
    )
