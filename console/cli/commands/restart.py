"""`mlx-distributed restart TARGET ACTOR`: start an actor of a live run anew, at no cost to its restart limit."""

from __future__ import annotations

import argparse

HELP = "start an actor of a live run anew, at no cost to its restart limit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, the actor, and the form of the answer."""
    from console.cli import acting

    acting.add_arguments(parser, "its path in the tree, as run/node/worker-1 or run/coordinator")


def run(args: argparse.Namespace) -> int:
    """Do it. Raises RunError with the run's refusal."""
    from console.cli.acting import act

    return act(args, "restart")
