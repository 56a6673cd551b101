"""A real terminal that one can look at: a tmux session of its own server, keys in, the screen's letters out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.waiting import until

GUARD_SECONDS = 300.0
"""Only a hang takes longer, also where the machine has no core to spare."""
PROGRAM = shutil.which("tmux")


class Tmux:
    """`with Tmux(folder) as terminal:` is a shell in a folder; leaving the block ends all that runs in it."""

    def __init__(
        self, folder: Path, *, size: tuple[int, int] = (100, 30), env: Mapping[str, str] | None = None
    ) -> None:
        """`size`: columns and rows; `env` beside this process's own."""
        self.pressed = 0
        """Keys so far, a typed letter being one."""
        self._folder, self._size = folder, size
        self._env = {**os.environ, "PS1": "$ ", "LANG": "C.UTF-8", "ENV": "", "HISTFILE": "", **(env or {})}
        self._server = f"mlxd-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Tmux:
        columns, rows = map(str, self._size)
        self._do("new-session", "-d", "-x", columns, "-y", rows, "-c", str(self._folder), "sh")
        self._do("set-option", "-g", "escape-time", "0")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        subprocess.run([*self._tmux, "kill-server"], env=self._env, capture_output=True, check=False)

    def order(self, command: str) -> None:
        """A line of the shell."""
        self._do("send-keys", "-l", command)
        self._do("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: `Enter`, `Down`, `C-r`, `q`."""
        self.pressed += len(keys)
        self._do("send-keys", *keys)

    def type(self, text: str) -> None:
        """Letters as they are."""
        self.pressed += len(text)
        self._do("send-keys", "-l", text)

    def screen(self) -> str:
        """What stands there now."""
        return self._do("capture-pane", "-p")

    def sees(self, *words: str, without: str = "") -> str:
        """Wait until all of the words stand there, and `without` does not; returns the screen."""

        def look() -> str:
            seen = self.screen()
            return seen if all(word in seen for word in words) and not (without and without in seen) else ""

        absent = f" without {without!r}" if without else ""
        return until(look, within_seconds=GUARD_SECONDS, what=lambda: f"no {words}{absent} in:\n{self.screen()}")

    def has_focus(self, button: str) -> None:
        """Wait until a button is in reverse video: Enter presses it."""
        reverse = re.compile(rf"\x1b\[(?:\d+;)*7m(?:\x1b\[[\d;]*m)* {re.escape(button)} ")

        def look() -> bool:
            return reverse.search(self._do("capture-pane", "-p", "-e")) is not None

        until(look, within_seconds=GUARD_SECONDS, what=lambda: f"{button} has no focus in:\n{self.screen()}")

    @property
    def _tmux(self) -> Sequence[str]:
        return (PROGRAM or "tmux", "-L", self._server, "-f", "/dev/null")

    def _do(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"tmux {' '.join(words)}: {done.stderr}"
        return done.stdout
