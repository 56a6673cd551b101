"""The console as somebody uses it in a real terminal: by keys, waiting for what stands on the screen."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.tmux import Tmux

ENTRY = "import sys; from console.cli.main import main; sys.exit(main())"
DIALOG = "Esc leaves"


@contextmanager
def shell(folder: Path) -> Iterator[Tmux]:
    """A terminal whose shell knows our command; the runs that were started from there end with it."""
    words = shlex.join([sys.executable, "-P", "-c", ENTRY])
    (folder / "bin").mkdir()
    (folder / "bin" / "mlx-distributed").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (folder / "bin" / "mlx-distributed").chmod(0o755)
    (folder / "here").mkdir()
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    try:
        with Tmux(folder / "here", env={"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}) as terminal:
            yield terminal
    finally:
        for owner in folder.glob("here/runs/*/run.pid"):
            with suppress(ValueError, KeyError, ProcessLookupError):  # it has let go of its folder
                os.kill(json.loads(owner.read_bytes())["pid"], signal.SIGKILL)


def set_key(terminal: Tmux, name: str, value: str) -> None:
    """Find a key of the form, and change it."""
    terminal.press("/")
    terminal.sees("keys whose name holds")
    terminal.press("C-u")
    terminal.type(name)
    terminal.press("Enter")
    terminal.sees(f"/{name} ", without=DIALOG)
    terminal.press("Enter")
    terminal.sees(DIALOG)
    terminal.press("C-u")
    terminal.type(value)
    terminal.press("Enter")
    terminal.sees(f"→ {value}", without=DIALOG)


def stop(terminal: Tmux) -> None:
    """From the overview; Cancel is the default, so that the other button is taken on purpose."""
    terminal.press("X")
    terminal.has_focus("Cancel")
    terminal.press("Right")
    terminal.has_focus("Stop")
    terminal.press("Enter")
    terminal.sees("STOPPED")
