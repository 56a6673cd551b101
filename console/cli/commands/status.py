"""`mlx-distributed status RUN`: where a live run is, once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlxd_wire import control_pb2 as pb

HELP = "where a live run is: step, loss, workers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a live run's folder, e.g. runs/quickstart")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print it. Raises UsageError for what is no run, RunFolderError for a run that does not live."""
    from mlxd_wire import control_pb2 as pb

    from console.cli.control import as_json, ask

    status = ask(args.run, "Status", pb.StatusRequest(), pb.RunStatus)
    print(json.dumps(as_json(status), indent=2) if args.json else "\n".join(lines(status)))
    return 0


def lines(status: pb.RunStatus) -> list[str]:
    """The status for a person."""
    where = f"step {status.step} of {status.last_step}" if status.last_step else "before its first step"
    loss = f", loss {status.loss:.4f}" if status.step else ""
    pace = f", {status.step_seconds:.3g} s a step" if status.step_seconds else ""
    spares = "1 spare is ready" if status.spares == 1 else f"{status.spares} spares are ready"
    restarts = "1 restart" if status.restarts == 1 else f"{status.restarts} restarts"
    return [
        f"{status.name or 'the run'} is {status.status}: {where}{loss}{pace}",
        f"generation {status.generation}, {restarts} so far, {spares}, process {status.root_pid}",
        *(_worker(worker) for worker in status.workers),
    ]


def _worker(worker: pb.WorkerStatus) -> str:
    if not worker.phase:
        return f"  worker {worker.rank}  starting"
    again = f", start {worker.incarnation}" if worker.incarnation > 1 else ""
    return f"  worker {worker.rank}  {worker.phase}, has the state of step {worker.state_step}, pid {worker.pid}{again}"
