"""`mlx-distributed pause TARGET`: let a live run finish its step and wait; its workers stay."""

from __future__ import annotations

import argparse

HELP = "let a live run finish its step and wait; its workers stay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    from console.cli import acting

    acting.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Do it. Raises RunError with the run's refusal."""
    from console.cli.acting import act

    return act(args, "pause")
