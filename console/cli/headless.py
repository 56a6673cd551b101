"""A headless run with its progress and its last words: what `mlx-distributed run` and `mlx-train` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from console.cli.commands.plot import columns_of, terminal_lines
from console.cli.progress import Mode, choose, summary_of
from console.cli.reaching import SSH_VARIABLE
from runtime.app.run import Ended, run_headless


def train(path: Path, overrides: Sequence[str], *, resume: str | None, progress_mode: Mode) -> int:
    """Train, showing it, and return the exit code. Talk goes to stderr, the summary (or JSON) to stdout."""
    observer = choose(progress_mode, sys.stderr, sys.stdout)
    ssh = os.environ.get(SSH_VARIABLE, "") or "ssh"
    ended = run_headless(path, overrides, resume=resume, observer=observer, say=_say, ssh=ssh)
    if progress_mode != "json":
        print(summary_of(ended.state, folder=ended.folder))
        if sys.stdout.isatty() and ended.state.training.last is not None:
            print("\n" + "\n".join(terminal_lines(ended.state, columns_of())))
    _explain(ended)
    return ended.exit_code


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _explain(ended: Ended) -> None:
    """Why it did not end well, and the last output of whoever is to blame."""
    if ended.tail:
        print(f"--- last output ---\n{ended.tail.rstrip()}\n-------------------", file=sys.stderr)
    if ended.reason and ended.exit_code not in {0, 130}:
        print(f"error: {ended.reason}", file=sys.stderr)
