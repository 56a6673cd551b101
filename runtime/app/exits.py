"""Exit codes of our processes, and the sentence in which a child explains a failure that no restart can cure."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from runtime.errors import MlxdError, RunError, UsageError

DONE = 0
FAILED = 1
GAVE_UP = 3
STOPPED = 130
OF_OUTCOME = {"done": DONE, "failed": FAILED, "gave_up": GAVE_UP, "stopped": STOPPED}
"""A finished run's exit code."""

UNRECOVERABLE = 78
"""A child's exit code for a RunError: data missing, a broken model, a full disk. Starting it again would not help."""
CANNOT_START = 79
"""A child's exit code when its first incarnation failed before it could work at all: not a crash loop, an end."""
_MARK = "error: "


def explained(main: Callable[[], None]) -> int:
    """Run a child's main function; returns its exit code. What it raises on purpose becomes one line on stderr."""
    try:
        main()
    except (RunError, UsageError) as error:
        print(f"{_MARK}{error}", file=sys.stderr, flush=True)
        return UNRECOVERABLE
    except MlxdError as error:
        print(f"{_MARK}{error}", file=sys.stderr, flush=True)
        return FAILED
    return DONE


def leave(main: Callable[[], None]) -> NoReturn:
    """Run a child's main function as `explained` does, and be gone with its exit code."""
    be_gone(explained(main))


def be_gone(code: int) -> NoReturn:
    """End this process now: what is ours is closed, what was said is flushed.

    The interpreter is not taken apart: with grpc, mlx and what they import that costs every process of a run 0.2 to
    0.3 s of a core (measured), and an interrupted run has a second for all of them.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody may be left who reads it
            stream.flush()
    os._exit(code)


def explanation(tail: str) -> str:
    """The sentence that a child printed as its last error; empty when it printed none."""
    before, mark, sentence = tail.rpartition(_MARK)
    return sentence.strip() if mark and (not before or before.endswith("\n")) else ""
