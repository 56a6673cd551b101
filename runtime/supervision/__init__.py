"""Supervision: restart policy as data, a pure core that decides, a thin trio shell that acts.

    workers = Supervisor(SupervisorSpec(tuple(worker_spec(rank) for rank in range(2)), intensity=3, period_seconds=60))
    root = Supervisor(SupervisorSpec((
        ChildSpec("journal", journal),
        ChildSpec("node", workers, Restart.TRANSIENT, significant=True),    # its normal end is the end of the run
    )))
    await supervise(root, path="run", emit=publish)      # ready -> Ready("run/node", ...); raises GaveUp; cancel = stop
    print(draw(root.view()))                             # the tree as text
    await workers.restart("worker-0")                    # also: add, stop, remove, suspect, end, ref

`emit` gets the reports below and every event that actors pass to `Context.emit`.
"""

from runtime.supervision.backoff import Backoff
from runtime.supervision.reports import Exited, GivingUp, Ready, Report, RestartPlanned, Starting, Stopping, Stuck
from runtime.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec
from runtime.supervision.supervisor import Supervisor, supervise
from runtime.supervision.tree import NodeView, draw

__all__ = [
    "Supervisor",
    "supervise",
    "SupervisorSpec",
    "ChildSpec",
    "Strategy",
    "Restart",
    "Backoff",
    "Report",
    "Starting",
    "Ready",
    "Stopping",
    "Exited",
    "RestartPlanned",
    "Stuck",
    "GivingUp",
    "NodeView",
    "draw",
]
