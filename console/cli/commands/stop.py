"""`mlx-distributed stop RUN`: ask a live run to save and end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "ask a live run to finish its step, write a checkpoint and end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a live run's folder, e.g. runs/quickstart")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a line")


def run(args: argparse.Namespace) -> int:
    """Ask it. Returns when the wish is on its way; raises RunError with the run's refusal."""
    from mlxd_wire import control_pb2 as pb

    from console.cli.control import ask, me
    from runtime.errors import RunError

    reply = ask(args.run, "Stop", pb.StopRequest(by=me()), pb.StopReply)
    if reply.refusal:
        raise RunError(f"{args.run}: {reply.refusal}")
    print(
        json.dumps({"stopping": True}) if args.json else f"{args.run} finishes its step, writes a checkpoint and ends"
    )
    return 0
