"""What a run occupies: processes, file descriptors, threads and memory, by role. Needs /proc; empty elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import PROC, Seen

ROLES = {"runtime.app.worker": "workers", "runtime.app.coordinator": "coordinator"}


@dataclass(frozen=True)
class Occupied:
    """Sums over the processes of one role."""

    processes: int = 0
    descriptors: int = 0
    threads: int = 0
    resident_mib: int = 0

    def __add__(self, other: Occupied) -> Occupied:
        return Occupied(
            self.processes + other.processes,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
            self.resident_mib + other.resident_mib,
        )

    def __str__(self) -> str:
        return f"{self.processes} processes, {self.descriptors} fds, {self.threads} threads, {self.resident_mib} MiB"


def census(alive: Iterable[Seen]) -> dict[str, Occupied]:
    """What these processes occupy now, by role; one that ends meanwhile is left out."""
    found: dict[str, Occupied] = {}
    for seen in alive:
        occupied = _of(PROC / str(seen.pid))
        if occupied is not None:
            role = role_of(seen.command)
            found[role] = found.get(role, Occupied()) + occupied
    return found


def role_of(command: str) -> str:
    """`workers` (spares are workers that wait), `coordinator`, or `root` with whatever else runs beside it."""
    return next((role for module, role in ROLES.items() if module in command), "root")


def _of(folder: Path) -> Occupied | None:
    try:
        descriptors = len(list((folder / "fd").iterdir()))
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        return Occupied(1, descriptors, int(status["Threads"]), int(status["VmRSS"].split()[0]) >> 10)
    except (OSError, KeyError):  # gone, a zombie, or no /proc here
        return None
