"""`mlx-distributed run CONFIG`: train as the configuration says. Only the words are here; `runtime.app.run` does it."""

from __future__ import annotations

import argparse

from console.cli.configured import add_config, add_workers, overrides_of

HELP = "train as a configuration says: supervised, headless, resumed after an interruption"

PROGRESS_MODES = ("auto", "live", "plain", "json", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG, and what may be said on the command line instead of in it."""
    add_config(parser)
    parser.add_argument(
        "--resume",
        metavar="auto|never|PATH",
        help="auto: go on where an interrupted run stopped; never: begin anew; PATH: from that checkpoint "
        "(default: what run.resume says)",
    )
    add_workers(parser)
    parser.add_argument(
        "--progress",
        choices=PROGRESS_MODES,
        default="auto",
        help="live: one line that changes; plain: one line per report; json: one object per line; "
        "auto: live on a terminal, plain elsewhere",
    )


def run(args: argparse.Namespace) -> int:
    """Train, and return the run's exit code."""
    from console.cli.headless import train

    return train(args.config, overrides_of(args), resume=args.resume, progress_mode=args.progress)
