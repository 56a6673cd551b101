"""`mlx-distributed kill TARGET ACTOR`: kill the process of an actor of a live run, as a test or as the last resort."""

from __future__ import annotations

import argparse

HELP = "kill the process of an actor of a live run, as a test or as the last resort"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, the actor, and the form of the answer."""
    from console.cli import acting

    acting.add_arguments(parser, "its path in the tree, as run/node/worker-1 or run/coordinator")


def run(args: argparse.Namespace) -> int:
    """Do it. Raises RunError with the run's refusal."""
    from console.cli.acting import act

    return act(args, "kill")
