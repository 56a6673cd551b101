"""`mlx-distributed node`: the agent of a run on another machine, which starts it over ssh; nobody types it."""

from __future__ import annotations

import argparse

HELP = "have a worker of a run here: what the run itself starts on this machine, over ssh"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None: the run says everything, on stdin."""


def run(args: argparse.Namespace) -> int:
    """Have the worker, until it ends or the run is gone. Raises UsageError on a terminal, and as `run_node` does."""
    import sys

    from runtime.errors import UsageError

    if sys.stdin.isatty():
        raise UsageError(
            "node is started by a run, over ssh; name this machine in cluster.hosts of the run's configuration, and "
            "look at the way to it with: mlx-distributed doctor --host ssh://HOST"
        )
    from runtime.app.node import run_node

    return run_node()
