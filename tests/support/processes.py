"""Which processes exist: a run's by a mark in their environment, which outlives every parent, ours by their parent."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import until

PROC = Path("/proc")


@dataclass(frozen=True)
class Seen:
    """One living process."""

    pid: int
    parent_pid: int
    command: str


def living() -> list[Seen]:
    """Every process of this machine that is not a zombie."""
    lines = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    split = (line.split(None, 3) for line in lines)
    return [
        Seen(int(pid), int(ppid), rest) for pid, ppid, state, rest in map(_four, split) if not state.startswith("Z")
    ]


def _four(words: list[str]) -> tuple[str, str, str, str]:
    pid, ppid, state, *rest = words
    return pid, ppid, state, rest[0] if rest else ""


def children_of(pid: int) -> list[Seen]:
    """The living direct children of `pid`; the `ps` that looked is not among them."""
    return [seen for seen in living() if seen.parent_pid == pid and not seen.command.startswith("ps -A")]


def marked(environment: Mapping[str, str]) -> list[Seen]:
    """Living processes whose environment at their start held all of `environment`."""
    wanted = [f"{name}={value}" for name, value in environment.items()]
    if PROC.is_dir():
        return [seen for seen in living() if set(wanted) <= set(_environment_on_linux(seen.pid))]
    listed = subprocess.run(
        ["ps", "-A", "-E", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    pids = {int(line.split()[0]) for line in listed.stdout.splitlines() if all(f" {pair}" in line for pair in wanted)}
    return [seen for seen in living() if seen.pid in pids]


def _environment_on_linux(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it died while we looked, or belongs to somebody else
        return []


def until_one(environment: Mapping[str, str], words: str, *, within_seconds: float) -> Seen:
    """The first process marked by `environment` whose command line holds `words`, once there is one."""
    found = until(
        lambda: [seen for seen in marked(environment) if words in seen.command],
        within_seconds=within_seconds,
        what=lambda: f"no process with {words!r} among {marked(environment)}",
    )
    return found[0]


def is_alive(pid: int) -> bool:
    """Whether `pid` is a living process, zombies aside."""
    return any(seen.pid == pid for seen in living())


def kill_all(seen: Iterable[Seen]) -> None:
    """SIGKILL to each; one that is gone already is fine."""
    for process in seen:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def wait_until_gone(environment: Mapping[str, str], *, within_seconds: float) -> None:
    """Return once no process marked by `environment` lives; raises WaitedTooLong and names the survivors."""
    until(
        lambda: not marked(environment),
        within_seconds=within_seconds,
        what=lambda: "still alive:\n" + "\n".join(f"  {seen.pid} {seen.command}" for seen in marked(environment)),
    )
