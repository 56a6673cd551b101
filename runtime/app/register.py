"""Which runs of this user live on this machine: a link for each in /tmp/mlxd-<uid>/runs, made by its root.

A link that a killed root left behind is told by the run's lock, and cleared away by whoever looks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.app.run_lock import owner_of
from runtime.config.private_folder import private_folder
from runtime.errors import RunError

_TEMPORARY = Path("/tmp")  # see private_folder


@contextmanager
def registered(run_folder: Path, parent: Path = _TEMPORARY) -> Iterator[None]:
    """The run can be found without its path meanwhile. Where that cannot be, it goes on without."""
    link = None
    with suppress(OSError, RunError):
        folder = private_folder(parent) / "runs"
        folder.mkdir(mode=0o700, exist_ok=True)
        link = folder / hashlib.blake2b(os.fsencode(run_folder.resolve()), digest_size=6).hexdigest()
        link.unlink(missing_ok=True)
        link.symlink_to(run_folder.resolve())
    try:
        yield
    finally:
        if link is not None:
            with suppress(OSError):
                link.unlink(missing_ok=True)


def living_runs(parent: Path = _TEMPORARY) -> list[Path]:
    """The folders of this user's runs that live on this machine, by path."""
    found = []
    with suppress(OSError, RunError):
        for link in (private_folder(parent) / "runs").iterdir():
            with suppress(OSError):
                run = link.readlink()
                if owner_of(run) is not None:
                    found.append(run)
                else:
                    link.unlink(missing_ok=True)
    return sorted(found)
