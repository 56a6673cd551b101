"""How an actor ended, as one frozen value that a supervisor can judge and a person can read.

Exit truth has one source per kind of actor: a task ends by returning or raising, a process by what waitpid says.
Exception groups are flattened here to the one leaf that explains the rest; the whole traceback stays in `tail`.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Literal, TypeAlias

import trio

from runtime.errors import ActorError, GaveUp

ExitKind: TypeAlias = Literal["normal", "error", "killed", "hung", "start_timeout", "gave_up", "interrupted"]
TAIL_BYTES = 16 * 1024
"""How much of a child's last output, or of a traceback, is kept to explain its end."""


class ProcessExit(ActorError):
    """A child process ended other than with code 0, could not be started, or broke the frame protocol."""

    def __init__(self, words: str, *, code: int | None = None, signal: int | None = None, tail: str = "") -> None:
        self.words, self.code, self.signal, self.tail = words, code, signal, tail
        super().__init__(words)

    @property
    def status(self) -> int | None:
        """The exit code, or the signal as a negative number; None where there was no process."""
        return -self.signal if self.code is None and self.signal is not None else self.code


class FatalExit(ProcessExit):
    """A child process ended with a code that its spec calls fatal: starting it again cannot help."""


@dataclass(frozen=True)
class Exit:
    """The end of one incarnation: whether it was good, what kind it was, in words, and its last output."""

    ok: bool
    kind: ExitKind
    detail: str
    """One clause for a person: `killed by SIGKILL`, `ValueError: bad shape`."""
    error: BaseException | None = None
    tail: str = ""

    @staticmethod
    def normal() -> Exit:
        """The actor returned."""
        return Exit(ok=True, kind="normal", detail="finished")

    @staticmethod
    def killed(detail: str, tail: str = "") -> Exit:
        """The actor did not end within its grace and was cancelled."""
        return Exit(ok=False, kind="killed", detail=detail, tail=tail)

    @staticmethod
    def of(error: BaseException, tail: str = "") -> Exit:
        """The exit that `error` means; without a `tail` (or one in the error) the tail is the end of its traceback."""
        cause = root_cause(error)
        if isinstance(cause, ProcessExit):
            return Exit(False, "error", cause.words, cause, tail or cause.tail)
        if isinstance(cause, GaveUp):
            return Exit(False, "gave_up", str(cause), cause, tail or cause.tail)
        trace = tail or "".join(traceback.format_exception(error))[-TAIL_BYTES:]
        words = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        return Exit(False, "error" if isinstance(cause, Exception) else "interrupted", words, cause, trace)


def root_cause(error: BaseException) -> BaseException:
    """The leaf of an exception group that explains it: an interrupt first, then the first error, never a Cancelled."""
    leaves = [leaf for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)]
    interrupts = [leaf for leaf in leaves if not isinstance(leaf, Exception)]
    return (interrupts or leaves or [error])[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]
