"""What it takes that bytes survive a power cut, and what to tell a person when the disk refuses.

A rename is atomic, but it is only durable once the folder around it was synced; and on macOS `fsync` hands the bytes
to the drive without asking the drive to keep them: F_FULLFSYNC does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path

_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # only macOS has it
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def sync_descriptor(descriptor: int) -> None:
    """Return only when the file's bytes are on the medium, not in a cache. Raises OSError."""
    if _FULL_SYNC is not None:
        with contextlib.suppress(OSError):  # network file systems refuse it; plain fsync is then all there is
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the folder's names (creations, renames, removals) durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write and sync a small file. Its name is durable after the next `sync_folder`. Raises OSError."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        sync_descriptor(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a small file so that at any moment a reader finds the whole old or the whole new one. Raises OSError."""
    aside = path.with_name(f"{path.name}.tmp")
    write_file(aside, content)
    aside.rename(path)
    sync_folder(path.parent)


def explain(error: OSError, folder: Path, *, needed_bytes: int = 0) -> str:
    """The fact and the next move behind an OSError, to end a sentence: `the disk is full (...); free ...`."""
    if error.errno in _DISK_FULL:
        return f"the disk is full ({_room(folder, needed_bytes)}); free some space or lower checkpoint.keep_last"
    if error.errno in _NOT_ALLOWED:
        place = error.filename or folder
        return f"no right to use {place} ({os.strerror(error.errno)}); give this user access"
    if error.errno == errno.EFBIG:
        return "a file of this size is not allowed here; look at `ulimit -f` and at the file system's limit"
    if error.errno == errno.EIO:
        return "the disk reports an input/output error; check it before trusting it with more"
    return error.strerror or str(error)


def megabytes(size_bytes: int) -> str:
    """`24.1 MB`, for sentences and tables."""
    return f"{size_bytes / 1e6:.1f} MB"


def _room(folder: Path, needed_bytes: int) -> str:
    free_bytes = 0
    with contextlib.suppress(OSError):
        free_bytes = shutil.disk_usage(folder).free
    needed = f"{megabytes(needed_bytes)} needed, " if needed_bytes else ""
    return f"{needed}{megabytes(free_bytes)} free"
