"""How a command is told its configuration: CONFIG, `--set TABLE.KEY=VALUE` and `--workers N`, the same everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """CONFIG and `--set`, as `args.config` and `args.overrides`."""
    parser.add_argument("config", metavar="CONFIG", type=Path, help="a .toml or .yaml file")
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """`--set`, as `args.overrides`."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="TABLE.KEY=VALUE",
        action="append",
        default=[],
        help="override one key, as TOML would write it; may be repeated",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers`, as `args.workers`."""
    parser.add_argument(
        "--workers", metavar="N", type=int, help="how many workers (the same as --set parallel.workers=N)"
    )


def overrides_of(args: argparse.Namespace) -> list[str]:
    """Everything that the command line says about the configuration, in one form: `table.key=value`."""
    workers = [] if args.workers is None else [f"parallel.workers={args.workers}"]
    return [*args.overrides, *workers]
