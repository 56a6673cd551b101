"""`mlx-distributed workers RUN add|remove [RANK]`: more or fewer workers in a live run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "add a worker to a live run, or remove one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, what to do, and the form of the answer."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a live run's folder, e.g. runs/quickstart")
    parser.add_argument(
        "action", choices=("add", "remove"), help="add: it joins at a step boundary, healed by the others"
    )
    parser.add_argument("rank", nargs="?", type=int, metavar="RANK", help="which one to remove (default: the highest)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a line")


def run(args: argparse.Namespace) -> int:
    """Do it, and return when the process is up, or gone. Raises RunError with the run's refusal."""
    from mlxd_wire import control_pb2 as pb

    from console.cli.control import CHANGE_SECONDS, ask, me
    from runtime.errors import RunError, UsageError

    if args.rank is not None and (args.action == "add" or args.rank < 0):
        raise UsageError("RANK says which worker to remove: a number from 0; a new worker gets the lowest free one")
    if args.action == "add":
        request, method = pb.AddWorkerRequest(by=me()), "AddWorker"
        reply = ask(args.run, method, request, pb.WorkersReply, within_seconds=CHANGE_SECONDS)
    else:
        removal = pb.RemoveWorkerRequest(by=me(), rank=args.rank)
        reply = ask(args.run, "RemoveWorker", removal, pb.WorkersReply, within_seconds=CHANGE_SECONDS)
    if reply.refusal:
        raise RunError(f"{args.run}: {reply.refusal}")
    done = {"add": "added", "remove": "removed"}[args.action]
    ranks = list(reply.ranks)
    if args.json:
        print(json.dumps({done: reply.rank, "workers": ranks}))
    else:
        print(f"worker {reply.rank} is {done}; there are {', '.join(map(str, ranks))} now")
    return 0
