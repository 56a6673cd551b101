"""Which process is meant, for ever: a process id alone is reused, with its start time and the boot it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of one machine."""

    pid: int
    start_time: str
    """Linux: clock ticks since the boot; elsewhere the date and time, as `ps -o lstart=` says them."""
    boot_id: str = ""
    """Empty where the system has none, and the start time is a date."""

    def is_alive(self) -> bool:
        """Whether that very process still runs. A zombie does not."""
        return identity_of(self.pid) == self

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"pid": self.pid, "start_time": self.start_time, "boot_id": self.boot_id}


def identity_from_json(data: Mapping[str, Any]) -> ProcessIdentity:
    """The identity in `data`. Raises ValueError where there is none."""
    pid, start_time = data.get("pid"), data.get("start_time")
    if not isinstance(pid, int) or not isinstance(start_time, str) or pid <= 0:
        raise ValueError(f"no process identity: {dict(data)}")
    return ProcessIdentity(pid, start_time, str(data.get("boot_id", "")))


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this id now; None where there is none, or only a zombie."""
    start_time = _start_time_on_linux(pid) if sys.platform == "linux" else start_time_by_ps(pid)
    return ProcessIdentity(pid, start_time, boot_id()) if start_time else None


def own_identity() -> ProcessIdentity:
    """The identity of this process."""
    identity = identity_of(os.getpid())
    if identity is None:
        raise RuntimeError("this process cannot find itself in the process table")
    return identity


@cache
def boot_id() -> str:
    """What tells this boot of the machine from every other; empty outside Linux."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_time_on_linux(pid: int) -> str:
    """Field 22 of /proc/<pid>/stat (proc(5)); empty where the process is gone or a zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the command's name, field 2, may hold spaces and parentheses
    state, start_ticks = fields[0], fields[19]
    return "" if state in {"Z", "X"} else start_ticks


def start_time_by_ps(pid: int) -> str:
    """Date and time at which the process began; empty where it is gone or a zombie. For systems without /proc."""
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    state, _, start = said.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()
