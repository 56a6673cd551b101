"""`mlx-distributed resume TARGET`: let a paused run go on."""

from __future__ import annotations

import argparse

HELP = "let a paused run go on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    from console.cli import acting

    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises RunError with the run's refusal."""
    from console.cli.acting import act

    return act(args, "resume")
