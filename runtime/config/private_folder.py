"""The user's own folder for what must have a short path and be nobody else's: /tmp/mlxd-<uid>, mode 0700.

The path of a unix socket may have about a hundred bytes, and macOS gives each user a temporary folder of half of that.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import RunError

SOCKET_PATH_BYTES = 103
"""What every system allows (macOS: 104 with the final zero byte)."""


def private_folder(parent: Path = Path("/tmp")) -> Path:  # made with mkdir(2) and mode, and looked at
    """The folder, made if there is none. Raises RunError where somebody else made it, or may write into it."""
    folder = parent / f"mlxd-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError as failed:
        raise RunError(f"{folder} cannot be made: {failed.strerror}") from failed
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise RunError(f"{folder} is not yours alone; remove it (or have it removed), it is made anew")
    return folder


def socket_path(folder: Path, name: str) -> Path:
    """A socket's path there. Raises RunError where it is longer than any system allows."""
    path = folder / name
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise RunError(f"{path}: the path of a unix socket may have {SOCKET_PATH_BYTES} bytes")
    return path
