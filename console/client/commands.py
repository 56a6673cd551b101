"""Our own commands as child processes: what exists as a command is not written a second time for the screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

SECONDS = 600.0
"""A checkpoint of many GB may be verified so long."""
_ENTRY = "import sys; from console.cli.main import main; sys.exit(main())"


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
    starting = asyncio.ensure_future(_started(words))
    try:
        child = await asyncio.shield(starting)
        async with asyncio.timeout(within_seconds):
            out, error = await child.communicate()
    except TimeoutError:
        return Done(1, "", f"`mlx-distributed {' '.join(words)}` has not ended within {within_seconds:g} s")
    finally:
        await _gone(await starting)  # also one that was only just starting when its caller was cancelled
    return Done(child.returncode or 0, out.decode(errors="replace"), error.decode(errors="replace"))


async def _started(words: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _ENTRY, *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
    )  # fmt: skip


async def _gone(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()
