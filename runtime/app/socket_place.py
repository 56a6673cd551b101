"""Where a socket of a run is bound. The path of a unix socket may have about a hundred bytes: where the run's folder is
longer, the socket lies in a folder of its own under the temporary one, and its name in the run's folder is a link."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.rpc.addresses import UNIX_PATH_BYTES

MONITOR_SOCKET = "monitor.sock"
_PREFIX = "mlxd-control-"


@contextmanager
def socket_place(run_folder: Path, name: str) -> Iterator[Path]:
    """Where that socket is bound; afterwards nothing of it is left. Nobody else may serve it meanwhile."""
    named = run_folder.resolve() / name
    _remove(named)
    if len(os.fsencode(named)) <= UNIX_PATH_BYTES:
        try:
            yield named
        finally:
            _remove(named)
        return
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    named.symlink_to(folder / name)
    try:
        yield folder / name
    finally:
        _remove(named)
        shutil.rmtree(folder, ignore_errors=True)


def _remove(named: Path) -> None:
    if named.is_symlink() and named.readlink().parent.name.startswith(_PREFIX):
        shutil.rmtree(named.readlink().parent, ignore_errors=True)  # of a process that was killed
    named.unlink(missing_ok=True)
