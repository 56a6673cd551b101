"""`mlx-distributed stop RUN`: ask a live run to save and end."""

from __future__ import annotations

import argparse
import json

HELP = "ask a live run to finish its step, write a checkpoint and end"
WHICH = "a live run's folder, unix:PATH of its control socket, or ssh://[user@]host[:port][/run]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    parser.add_argument("run", metavar="TARGET", help=WHICH)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a line")


def run(args: argparse.Namespace) -> int:
    """Ask it. Returns when the wish is on its way; raises RunError with the run's refusal."""
    from console.cli.acting import acted
    from console.cli.targets import done

    done(acted(args.run, "stop", ""))
    print(
        json.dumps({"stopping": True}) if args.json else f"{args.run} finishes its step, writes a checkpoint and ends"
    )
    return 0
