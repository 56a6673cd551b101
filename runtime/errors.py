"""The exception tree. An error names the place, the fact and the next move; its class says who must act.

MlxdError
 |-- UsageError            the command line is wrong                          exit 2, nothing was started
 |    `-- ConfigError      the configuration is wrong: every problem at once  exit 2, nothing was started
 |-- RunError              the run failed                                     exit 1
 |    |-- RunFolderError   folder in use, unreadable, not writable            exit 1
 |    |-- DataError        training data missing or too bad                   exit 1
 |    |-- ModelError       a model that cannot be built or loaded             exit 1
 |    `-- CheckpointError  missing, broken, or of another model               exit 1
 |-- WorkerUnfit           this worker cannot take part, the others can        its process ends with 0
 |-- GaveUp                the supervisor's restart limit was passed          exit 3
 |-- ProtocolError         between processes; handled inside the runtime
 |    |-- StaleGeneration  the sender lives in an older membership: rejoin
 |    |-- PeerLost         the other side is gone
 |    `-- Aborted          the step was cancelled by the coordinator
 `-- ActorError            between actors of one process
      |-- ActorDown        the target restarts or is gone: ask again later
      `-- MailboxFull      the bounded mailbox refused the message
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MlxdError(Exception):
    """Root of everything that this program raises on purpose; its text is one sentence for a person."""


class UsageError(MlxdError):
    """The command line asks for something impossible. Nothing was started."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration: where, what, and the likely fix."""

    place: str
    """`quickstart.toml:14 optim.learning_rat`, or `--set optim.learning_rat`."""
    fact: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.fact}" + (f"; {self.fix}" if self.fix else "")


class ConfigError(UsageError):
    """Every problem of a configuration, found before anything was started."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RunError(MlxdError):
    """The run cannot go on; what was saved stays saved."""


class RunFolderError(RunError):
    """The run's folder is in use by a live run, or cannot be read or written."""


class DataError(RunError):
    """Training data is missing, malformed beyond the allowed fraction, or empty after filtering."""


class ModelError(RunError):
    """A model or tokenizer that cannot be built, loaded or split."""


class CheckpointError(RunError):
    """A checkpoint is missing, broken, or belongs to another model."""


class WorkerUnfit(MlxdError):
    """This worker's device cannot do its part of the run, however often it is started; the others can."""


class GaveUp(MlxdError):
    """A supervisor passed its restart limit (or a child could not start at all): cause and stderr tail are inside."""

    def __init__(self, sentence: str, *, path: str = "", tail: str = "") -> None:
        self.path, self.tail = path, tail
        super().__init__(sentence)


class ProtocolError(MlxdError):
    """Two processes disagree about the run's state, or one of them is gone."""


class StaleGeneration(ProtocolError):
    """A message of an older membership was refused; its sender must join again."""


class PeerLost(ProtocolError):
    """The connection to a peer broke or its deadline passed."""


class Aborted(ProtocolError):
    """The coordinator cancelled what was waited for; a newer order is on its way."""


class ActorError(MlxdError):
    """An actor could not be reached."""


class ActorDown(ActorError):
    """The actor asked is gone or restarting; the question was not and will not be answered."""


class MailboxFull(ActorError):
    """A bounded mailbox refused a message; the sender must slow down or drop."""
