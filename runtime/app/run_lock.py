"""The lock of a run folder: at most one live root process drives it, and a killed one leaves it free.

The lock is flock(2) on run.pid: the kernel drops it with the process, however that ends; children do not inherit it,
because the file is closed on exec. The text in the file is for people and for `owner_of`, which takes no lock, so that
looking at a run can never be in the way of starting one. The file is never deleted: two processes would then lock two
files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.app.process_identity import ProcessIdentity, identity_from_json, own_identity
from runtime.errors import RunFolderError

LOCK_NAME = "run.pid"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who drives, or last drove, a run folder."""

    process: ProcessIdentity
    run_id: str
    host: str
    command: str


class RunFolderInUse(RunFolderError):
    """Another live process holds the folder's lock."""


class RunLock:
    """The lock, held from `take` to `release` or to the process's death."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def take(cls, folder: Path, run_id: str, command: str) -> RunLock:
        """Lock the folder for this process.

        Raises:
            RunFolderInUse: a live process has it; the text names it.
            RunFolderError: the file system has no locks.
            OSError: the lock's file cannot be made or written.
        """
        path = folder / LOCK_NAME
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(file, folder)
            identity = own_identity().to_json()
            owner = {**identity, "run_id": run_id, "host": socket.gethostname(), "command": command}
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(owner).encode() + b"\n", 0)
        except BaseException:  # whatever went wrong, a lock that nobody holds in his hand must not stay
            os.close(file)
            raise
        return cls(file)

    def release(self) -> None:
        """Give the folder free. The second call does nothing."""
        if self._file < 0:
            return
        with suppress(OSError):  # the text is only for people
            os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file = -1


def owner_of(folder: Path) -> Owner | None:
    """The live process of this machine that drives the run; None where there is none. Takes no lock."""
    owner = _written_owner(folder)
    return owner if owner is not None and owner.process.is_alive() else None


def _written_owner(folder: Path) -> Owner | None:
    try:
        data = json.loads((folder / LOCK_NAME).read_bytes())
        process = identity_from_json(data)
    except (OSError, ValueError, AttributeError):  # no file, half a text, or JSON that is no object
        return None
    return Owner(process, str(data.get("run_id", "")), str(data.get("host", "")), str(data.get("command", "")))


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunFolderInUse(_in_use(folder)) from None
    except OSError as problem:
        if problem.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise RunFolderError(
                f"{folder}: its file system has no locks; set run.output_dir to a folder on a local disk"
            ) from problem
        raise


def _in_use(folder: Path) -> str:
    owner = _written_owner(folder)
    if owner is None:
        return f"{folder} is in use by another process; wait for it, or begin another run with --resume never"
    pid, host = owner.process.pid, owner.host
    where = f" on {host}" if host and host != socket.gethostname() else ""
    what = f" ({owner.command})" if owner.command else ""
    return (
        f"{folder} is in use by process {pid}{where}{what}; "
        f"stop it with `kill -INT {pid}` (it saves a checkpoint first), or begin another run with --resume never"
    )
