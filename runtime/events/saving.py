"""Facts about checkpoints. Paths are relative to the run folder."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import Step


@dataclass(frozen=True, slots=True)
class CheckpointStarted:
    """The writer holds a snapshot of this step; training goes on meanwhile."""

    step: Step


@dataclass(frozen=True, slots=True)
class CheckpointWritten:
    """The checkpoint is complete, synced, hashed and renamed: a crash cannot take it away any more."""

    step: Step
    path: str
    size_bytes: int
    seconds: float
    parameter_hash: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointFailed:
    """A checkpoint could not be written; the earlier ones stand."""

    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class CheckpointRejected:
    """A checkpoint found on disk is broken or foreign; the reader went on to an older one."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CheckpointRemoved:
    """Retention deleted a checkpoint."""

    step: Step
    path: str
