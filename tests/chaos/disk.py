"""A small disk of its own for a run's checkpoints, that can be full for a while."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_BYTES = 256 << 20


def cannot_mount() -> str:
    """Why there is no small disk here; empty where there may be one."""
    if os.geteuid() != 0 or not Path("/proc/mounts").exists():
        return "only root can mount a small file system, and only on Linux"
    return ""


class Disk:
    """A mounted folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "somebody-elses-file"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.folder).free)
                while True:
                    file.write(bytes(1 << 16))
            except OSError:  # full: that is what was wanted
                pass

    def clear(self) -> None:
        """Give the bytes back."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def small_disk_for_checkpoints(run_folder: Path) -> Iterator[Disk | None]:
    """Prepare a run's folder, before the run begins, so that its checkpoints lie on a disk of 256 MiB.

    None where no disk can be mounted; the run's folder is untouched then.
    """
    if cannot_mount():
        yield None
        return
    folder = run_folder / "checkpoints"
    folder.mkdir(parents=True)
    (run_folder / "run.pid").touch()  # by this the command knows the folder as its own
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
