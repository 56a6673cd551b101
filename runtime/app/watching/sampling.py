"""Gauges of this machine: what the run's processes use, the load, room on the disk, samples in quarantine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from runtime.view.gauges import Beat, Gauges, ProcessUse

_PROC = Path("/proc")
_PS_SECONDS = 5.0
GRAIN_BYTES = 1 << 20
"""What is less than this changes all the time and says nothing; each change is sent to every console."""


class Sampler:
    """Measures now and then; blocks for about a millisecond (where there is no /proc: as long as `ps` takes)."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._cpu: dict[int, tuple[float, float]] = {}
        """Process id -> (when, CPU seconds until then), of the last sample."""
        self._quarantine = (0, 0)
        """(bytes read, lines in them)."""

    def sample(self, pids: Collection[int], beats: Mapping[int, Beat]) -> Gauges:
        """What there is to measure now; what cannot be measured is absent, never zero."""
        disk = _disk(self._folder)
        return Gauges(
            beats=dict(beats),
            processes=self._uses(pids),
            host=socket.gethostname(),
            cores=os.cpu_count() or 0,
            load=round(os.getloadavg()[0], 1),
            disk_free_bytes=disk[0] if disk else None,
            disk_total_bytes=disk[1] if disk else None,
            quarantined=self._quarantined(),
            sampled_seconds=round(time.time(), 1),
            source="proc" if _PROC.is_dir() else "ps",
        )

    def _uses(self, pids: Collection[int]) -> dict[int, ProcessUse]:
        now = time.monotonic()
        measured = from_proc(pids) if _PROC.is_dir() else from_ps(pids)
        uses = {}
        for pid, (resident_bytes, cpu_seconds) in measured.items():
            before = self._cpu.get(pid)
            passed = now - before[0] if before else 0.0
            uses[pid] = ProcessUse(
                resident_bytes // GRAIN_BYTES * GRAIN_BYTES,
                max(0.0, (cpu_seconds - before[1]) / passed) if before and passed > 0 else None,
            )
        self._cpu = {pid: (now, cpu_seconds) for pid, (_, cpu_seconds) in measured.items()}
        return uses

    def _quarantined(self) -> int | None:
        """Lines of the run's quarantine, counted as they come; None where there is none."""
        offset, lines = self._quarantine
        try:
            with (self._folder / "data" / "quarantine.jsonl").open("rb") as file:
                file.seek(offset)
                data = file.read(1 << 20)
        except OSError:
            return None
        self._quarantine = offset + len(data), lines + data.count(b"\n")
        return self._quarantine[1]


def from_proc(pids: Collection[int]) -> dict[int, tuple[int, float]]:
    """Process id -> (resident bytes, CPU seconds), of those that live (proc(5): stat, fields 14, 15 and 24)."""
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    found = {}
    for pid in pids:
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[pid] = int(fields[21]) * page, (int(fields[11]) + int(fields[12])) / tick
    return found


def from_ps(pids: Collection[int]) -> dict[int, tuple[int, float]]:
    """The same from ps(1), for systems without /proc. Empty where it does not answer."""
    if not pids:
        return {}
    command = ["ps", "-o", "pid=,rss=,time=", "-p", ",".join(map(str, sorted(pids)))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PS_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = (line.split() for line in done.stdout.splitlines())
    return {int(row[0]): (int(row[1]) * 1024, cpu_seconds(row[2])) for row in rows if len(row) == 3}


def cpu_seconds(text: str) -> float:
    """Seconds of `[[days-]hours:]minutes:seconds`, as ps writes CPU times."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + 86400 * int(days or 0)


def _disk(folder: Path) -> tuple[int, int] | None:
    """(free for us, total) bytes of the disk that holds `folder`."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize // GRAIN_BYTES * GRAIN_BYTES, disk.f_blocks * disk.f_frsize
