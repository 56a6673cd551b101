"""The border between a command and the shell: arguments in, one sentence and an exit code out.

Every command of ours goes through here, so that a mistyped option, a refused configuration and a failed run look
the same everywhere. Exit codes: 0 done, 1 the run failed, 2 the command line or the configuration is wrong (nothing
was started), 3 the supervisor gave up, 130 stopped by the user, 141 the reader of our output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from runtime.app import exits
from runtime.errors import GaveUp, MlxdError, UsageError

USAGE = 2
BROKEN_PIPE = 141


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` and leaves the printing to `answer`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)  # a script with `--work` must not break when `--workspace` is added
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with argparse's sentence, the nearest option if one was mistyped, and where to look."""
        options = [option for action in self._actions for option in action.option_strings]
        words = message.partition("unrecognized arguments: ")[2].split()
        hint = next((near for word in words if (near := did_you_mean(word.partition("=")[0], options))), "")
        raise UsageError(f"{message}{hint}; see {self.prog} --help")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean run?` when something known is spelled nearly like `word`, otherwise nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def exit_code_of(error: MlxdError) -> int:
    """The exit code of an error by its class: who must act decides."""
    match error:
        case UsageError():
            return USAGE
        case GaveUp():
            return exits.GAVE_UP
        case _:
            return exits.FAILED


def answer(command: Callable[[], int]) -> int:
    """Run `command` and return its exit code; errors raised on purpose become one sentence on stderr.

    What nobody raised on purpose is a bug and keeps its traceback.
    """
    try:
        code = command()
        sys.stdout.flush()  # a reader that went away is noticed here, not in the interpreter's last breath
    except MlxdError as error:
        print(f"error: {error}", file=sys.stderr)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return exits.STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would complain again
        return BROKEN_PIPE
    return code
