"""What no journal holds, because it changes all the time and nobody needs it later: measured, newest value only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Beat(NamedTuple):
    """A worker's last sign of life."""

    seconds: float
    """Unix time."""
    step: int
    phase: str


class ProcessUse(NamedTuple):
    """What a process needs of its machine."""

    resident_bytes: int
    cores: float | None
    """CPU seconds a second since the sample before; None for the first sample."""


@dataclass(frozen=True)
class Gauges:
    """Everything that was measured beside the journal; nothing, where nobody measures."""

    beats: Mapping[int, Beat] = field(default_factory=dict)
    """By rank."""
    processes: Mapping[int, ProcessUse] = field(default_factory=dict)
    """By process id."""
    host: str = ""
    cores: int = 0
    load: float | None = None
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    quarantined: int | None = None
    sampled_seconds: float = 0.0
    """Unix time of all but the beats."""
    source: str = ""
