"""Child processes written down, so that the next root can end what a last one may have left behind.

The tether (`runtime.tether`) ends every child when its parent dies; this is the second line, for a child that
lost its tether. Each ready child has a file `pids/<pid>.json` with its identity. Only a process whose start time is the
one written down is ever killed: a reused process id is left in peace.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

from runtime.app.process_identity import ProcessIdentity, identity_from_json, identity_of
from runtime.events import ActorExited, ActorReady, Envelope
from runtime.ids import ActorPath


class ChildRecords:
    """A sink of the event bus that keeps `folder` equal to the set of living children. Never raises for a full disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pids: dict[ActorPath, int] = {}

    def __call__(self, envelope: Envelope) -> None:
        """Write down a child that is ready, and forget one that is gone."""
        event = envelope.event
        if isinstance(event, ActorReady) and event.pid not in {0, os.getpid()}:
            self._note(event)
        elif isinstance(event, ActorExited):
            pid = self._pids.pop(event.path, None)
            if pid is not None:
                (self._folder / f"{pid}.json").unlink(missing_ok=True)

    def _note(self, event: ActorReady) -> None:
        identity = identity_of(event.pid)
        if identity is None:
            return  # of another host, or dead already
        with suppress(OSError):  # the tether is the first line; this one may fail on a full disk
            text = json.dumps({**identity.to_json(), "path": event.path})
            (self._folder / f"{event.pid}.json").write_text(text, encoding="utf-8")
            self._pids[event.path] = event.pid


def sweep(folder: Path) -> tuple[int, ...]:
    """Kill the recorded children that still live, forget all records, and return the killed ids, ascending.

    The caller holds the run's lock. Raises OSError where the folder cannot be read or cleaned.
    """
    killed = []
    for file in sorted(folder.glob("*.json")):
        try:
            identity = identity_from_json(json.loads(file.read_bytes()))
        except (ValueError, AttributeError):
            identity = None  # half a text: its writer was killed; the tether has the rest
        if identity is not None and identity.pid != os.getpid() and identity.is_alive():
            _kill(identity)
            killed.append(identity.pid)
        file.unlink(missing_ok=True)
    return tuple(sorted(killed))


def _kill(identity: ProcessIdentity) -> None:
    """End the process, and its group where it leads one: a child of ours leads a session of its own."""
    with suppress(ProcessLookupError, PermissionError):  # gone in this moment
        if os.getpgid(identity.pid) == identity.pid:
            os.killpg(identity.pid, signal.SIGKILL)
        else:
            os.kill(identity.pid, signal.SIGKILL)
