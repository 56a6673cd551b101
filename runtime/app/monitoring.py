"""The run's monitor as a part of its tree: started when somebody first looks, restarted alone, never anybody's end.

run/monitoring            one_for_one, temporary: that it gives up costs the run nothing
run/monitoring/monitor    the process
"""

from __future__ import annotations

from pathlib import Path

import trio

from runtime import launch
from runtime.actors import ProcessActor, ProcessSpec
from runtime.app.crew import Refusal
from runtime.app.reports import policies
from runtime.app.root import Root
from runtime.app.socket_place import MONITOR_SOCKET
from runtime.ids import ActorPath
from runtime.rpc.addresses import UNIX
from runtime.supervision import Backoff, ChildSpec, Restart, Supervisor, SupervisorSpec

NAME = "monitoring"
START_SECONDS = 120.0
"""It says Hello once it can be reached; on a busy machine the interpreter itself can take seconds."""
BACKOFF = Backoff(first=0.2, cap=4.0)
"""Who looks at a screen waits for this; ten restarts come within the half of a minute."""
_PATH = ActorPath(f"run/{NAME}")


class Monitoring:
    """Belongs to the root's trio thread."""

    def __init__(self, root: Root, run_folder: Path) -> None:
        self._root, self._run_folder = root, run_folder
        self._opening = trio.Lock()

    async def open(self) -> str:
        """Where the monitor listens: `unix:/path`. Starts it where there is none; returns when it can be reached.

        Raises Refusal while the run begins or ends, GaveUp with its output when it cannot start.
        """
        async with self._opening:
            tree = self._root.tree
            if tree is None or tree.view() is None or self._root.outcome:
                raise Refusal("the run is just beginning or ending; its journal has what there is")
            known = self._root.monitoring
            if known is None or known.view() is None:
                supervisor = self._root.monitoring = monitor_tree(self._root, self._run_folder)
                for fact in policies(supervisor, _PATH):
                    self._root.bus.publish(fact, _PATH)
                await tree.add(ChildSpec(NAME, supervisor, Restart.TEMPORARY, start_seconds=START_SECONDS))
        named = self._run_folder.resolve() / MONITOR_SOCKET
        return f"{UNIX}{named.readlink() if named.is_symlink() else named}"


def monitor_tree(root: Root, run_folder: Path) -> Supervisor:
    """The supervisor of the monitor's process."""
    spec = ProcessSpec(
        launch.command("runtime.app.monitor", "--run-folder", str(run_folder)),
        run_folder / "logs" / "monitor.log",
        term_after_seconds=2.0,
        kill_after_seconds=1.0,
    )
    child = ChildSpec(
        "monitor", ProcessActor(spec), Restart.PERMANENT, start_seconds=START_SECONDS, address=root.monitor
    )
    return Supervisor(SupervisorSpec((child,), intensity=10, period_seconds=60.0, backoff=BACKOFF))
