"""The connections between two processes of a run, and how a stranger cuts them without asking either of them.

A duplicate of the descriptor (pidfd_getfd, Linux 5.6) is shut down in both directions: both sides see their connection
end, as after a cut cable that the kernel has noticed. Needs the rights of a debugger, and `ss` to find who talks to
whom; the lane through shared memory has a socket too, whose end is the lane's end.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

PIDFD_GETFD = 438
"""The system call's number, the same on every architecture."""
_USERS = re.compile(r"pid=(\d+),fd=(\d+)")


@dataclass(frozen=True)
class End:
    """One process's end of an open connection."""

    pid: int
    descriptor: int
    here: str
    """Its own address: `host:port`, or the number of a unix socket."""
    there: str


def cannot_cut() -> str:
    """Why connections cannot be cut here; empty where they can."""
    if not Path("/proc/self/ns").is_dir() or not hasattr(os, "pidfd_open"):
        return "only Linux lets one process cut another one's connections"
    return "" if shutil.which("ss") else "the program ss (iproute2) is missing"


def between(first: int, second: int, ends: list[End] | None = None) -> list[End]:
    """The ends at `first` of every open connection between these two processes."""
    found = _ends() if ends is None else ends
    owner = {(end.here, end.there): end.pid for end in found}
    return [end for end in found if end.pid == first and owner.get((end.there, end.here)) == second]


def cut(first: int, second: int) -> int:
    """Shut down every connection between two processes; how many there were."""
    return sum(_shut_down(end) for end in between(first, second))


def _shut_down(end: End) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    with suppress(OSError):  # its process is gone, or has closed it in this moment
        process = os.pidfd_open(end.pid)
        try:
            copy = library.syscall(PIDFD_GETFD, process, end.descriptor, 0)
        finally:
            os.close(process)
        if copy < 0:
            return False
        with closing(socket.socket(fileno=copy)) as link:
            link.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _ends() -> list[End]:
    listed = subprocess.run(["ss", "-H", "-t", "-x", "-n", "-p"], capture_output=True, text=True, check=True).stdout
    return [end for line in listed.splitlines() for end in ends_of(line)]


def ends_of(line: str) -> list[End]:
    """What a line of `ss -H -t -x -n -p` says: network, state, two queues, local, peer, users.

    A unix socket's addresses are two words each, a name (or `*`) and a number; only the number tells which one it is.
    """
    words = line.split()
    users = _USERS.findall(line)
    if len(words) < 6 or "ESTAB" not in words[:2]:
        return []
    if words[0].startswith("u_"):
        here, there = words[5], words[7] if len(words) > 7 else ""
    else:
        at = words.index("ESTAB") + 3
        here, there = words[at], words[at + 1]
    return [End(int(pid), int(descriptor), here, there) for pid, descriptor in users]
