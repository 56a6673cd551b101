"""Facts about the run as a whole: it began, it ended, it was asked to stop, something deserves attention.

Rule for every fact in this folder: a field that is added later gets a default, so that yesterday's journal stays
readable; a field is never renamed, and never changes its meaning or its unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from runtime.ids import Step

Outcome: TypeAlias = Literal["done", "failed", "stopped", "gave_up"]
"""done: the last step is committed; failed: exit 1; stopped: the user asked, after a checkpoint; gave_up: exit 3."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A root process took the run folder and knows its plan. A resumed run says so, and adds to the same journal."""

    name: str
    workers: int
    first_step: Step
    """The first step that this process will commit: 1, or the one after the checkpoint that it resumes from."""
    last_step: Step
    samples_per_step: int
    config_hash: str
    run_id: str = ""
    resumed_from: str = ""
    """Folder of the checkpoint, relative to the run folder; empty for a fresh run."""
    cursor: int = 0
    """Samples consumed before the first step."""
    samples: int = 0
    """Training samples in one epoch."""
    tokens_held_out: int = 0
    """Trained tokens of the held-out split."""
    parameters: int = 0
    trained_parameters: int = 0
    model: str = ""
    deterministic: bool = False
    pid: int = 0
    host: str = ""
    version: str = ""
    command: str = ""
    """What the user types to run, and after an interruption to resume, this run."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody asked the run to stop: the step is finished and a checkpoint written first, unless `now`."""

    by: str
    """`SIGINT`, `SIGTERM`, or who committed it through the console."""
    now: bool = False


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody asked for a pause: the step is finished, and no other begins."""

    by: str


@dataclass(frozen=True, slots=True)
class RunPaused:
    """The run stands at this committed step, and every worker waits."""

    step: Step
    by: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody asked to go on after a pause."""

    by: str


@dataclass(frozen=True, slots=True)
class CheckpointRequested:
    """Somebody asked for a checkpoint of the next committed step; in a pause of the present one."""

    by: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last fact of a root process that could still speak. A journal without it was interrupted."""

    outcome: Outcome
    step: Step
    seconds: float
    """Wall time since this process's RunStarted."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AlarmAcknowledged:
    """Somebody has seen an alarm; it is open again when its cause comes back later."""

    key: str
    by: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is wrong but the run goes on: where, what, and the next move for a person."""

    place: str
    """What it is about: `worker-1`, `journal`, `data/train.jsonl:17`. A repeat at one place replaces the last."""
    text: str
    fix: str = ""
