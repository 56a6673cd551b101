"""`mlx-distributed status RUN`: where a live run is, once."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlxd_wire import control_pb2 as pb

HELP = "where a live run is: step, loss, workers"
WHICH = "a live run's folder, unix:PATH of its control socket, or ssh://[user@]host[:port][/run]"
WATCH_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, the form of the answer, and whether to go on."""
    parser.add_argument("run", metavar="TARGET", help=WHICH)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines; with --watch one a line")
    parser.add_argument("--watch", action="store_true", help="again each second, until the run ends or Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Print it. Raises UsageError for what is no run, RunFolderError for a run that does not live."""
    from console.cli.targets import done

    done(_told(args.run, as_json_lines=args.json, is_watching=args.watch))
    return 0


async def _told(place: str, *, as_json_lines: bool, is_watching: bool) -> None:
    import asyncio

    from mlxd_wire import control_pb2 as pb

    from console.cli.control import ANSWER_SECONDS, as_json
    from console.cli.targets import reached
    from console.client.wire import Unreachable, connected
    from runtime.errors import RunError

    told = False
    async with reached(place, operate=False) as run, connected(run.control) as connection:
        while is_watching or not told:
            request = pb.StatusRequest()
            try:
                status = await connection.ask(run.status, request, pb.RunStatus, within_seconds=ANSWER_SECONDS)
            except Unreachable as lost:
                if told:
                    return  # the run is over
                raise RunError(f"{place}: {lost}") from lost
            indent = None if is_watching else 2
            print(json.dumps(as_json(status), indent=indent) if as_json_lines else "\n".join(lines(status)), flush=True)
            told = True
            if is_watching:
                await asyncio.sleep(WATCH_SECONDS)


def lines(status: pb.RunStatus) -> list[str]:
    """The status for a person."""
    where = f"step {status.step} of {status.last_step}" if status.last_step else "before its first step"
    loss = f", loss {status.loss:.4f}" if status.step else ""
    pace = f", {status.step_seconds:.3g} s a step" if status.step_seconds else ""
    spares = "1 spare is ready" if status.spares == 1 else f"{status.spares} spares are ready"
    restarts = "1 restart" if status.restarts == 1 else f"{status.restarts} restarts"
    by = f" ({status.paused_by})" if status.paused_by else ""
    return [
        f"{status.name or 'the run'} is {status.status}{by}: {where}{loss}{pace}",
        f"generation {status.generation}, {restarts} so far, {spares}, process {status.root_pid}",
        *(_worker(worker) for worker in status.workers),
    ]


def _worker(worker: pb.WorkerStatus) -> str:
    if not worker.phase:
        return f"  worker {worker.rank}  starting"
    again = f", start {worker.incarnation}" if worker.incarnation > 1 else ""
    return f"  worker {worker.rank}  {worker.phase}, has the state of step {worker.state_step}, pid {worker.pid}{again}"
