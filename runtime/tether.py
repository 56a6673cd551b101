"""The child's side of the tether: when the parent dies, so does the child's whole process group, whatever it does.

The tether is stdin: a pipe whose only write end is in the parent, which never writes. Its end of file means that the
parent is gone, however it went. PR_SET_PDEATHSIG is no substitute: it fires when the *thread* that forked ends, and
trio forks in a worker thread that ends after ten idle seconds. Three ways hear the end of file:

kernel    Linux: O_ASYNC on the pipe with SIGKILL as its signal and the process group as its owner. No code of ours
          runs, so a C call that holds the GIL for ever dies as well.
keeper    elsewhere: a shell in the process group that waits in `cat` and then kills the group.
thread    everywhere, beside the other: a reader that kills the group; the cheapest, but needs the GIL.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from typing import Literal, TypeAlias

from runtime.errors import UsageError

Watch: TypeAlias = Literal["kernel", "keeper"]
DEFAULT_WATCH: Watch = "kernel" if sys.platform == "linux" else "keeper"
_TETHER_FD = 0
_armed: list[object] = []
"""What keeps the tether armed for the life of this process: the thread, and the keeper."""


def arm(watch: Watch = DEFAULT_WATCH) -> None:
    """Tie this process group's life to the parent's; the first line of a child's main. A second call does nothing.

    Raises UsageError when stdin is not a pipe or this process does not lead its own group: it was not started by the
    runtime, and killing "its" group would hit the shell of the person who did.
    """
    if _armed:
        return
    if not stat.S_ISFIFO(os.fstat(_TETHER_FD).st_mode) or os.getpgrp() != os.getpid():
        raise UsageError("this command is started by the runtime, not by hand: its stdin is no tether")
    if watch == "kernel":
        _armed.append(_arm_kernel())
    else:
        _armed.append(_start_keeper())
    # a daemon: it must not hold up a normal exit, and it lives exactly as long as the process
    reader = threading.Thread(target=_die_at_end_of_file, name="tether", daemon=True)
    reader.start()
    _armed.append(reader)
    if _has_ended():  # the parent died before the watch was armed
        _kill_group()  # pragma: no cover - nothing survives to tell


def _arm_kernel() -> str:
    if sys.platform != "linux":
        raise UsageError("the kernel watch needs Linux; use the keeper")
    fcntl.fcntl(_TETHER_FD, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(_TETHER_FD, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(_TETHER_FD, fcntl.F_SETFL, fcntl.fcntl(_TETHER_FD, fcntl.F_GETFL) | os.O_ASYNC)
    return "kernel"


def _start_keeper() -> subprocess.Popen[bytes]:
    """A shell on the tether and on nothing else, so that it holds no log or frame pipe open."""
    script = f"cat >/dev/null; kill -9 -{os.getpgrp()}"
    quiet = subprocess.DEVNULL
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=_TETHER_FD, stdout=quiet, stderr=quiet)


def _die_at_end_of_file() -> None:
    while os.read(_TETHER_FD, 4096):
        pass
    _kill_group()  # pragma: no cover - nothing survives to tell


def _has_ended() -> bool:
    poll = select.poll()
    poll.register(_TETHER_FD, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _kill_group() -> None:  # pragma: no cover - nothing survives to tell
    os.killpg(os.getpgrp(), signal.SIGKILL)
