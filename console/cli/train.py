"""`mlx-train CONFIG`: the short name of `mlx-distributed run CONFIG`, with the same arguments."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from console.cli.commands import run
from console.cli.invocation import Parser, answer


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `mlx-train`: returns the exit code, prints at most one `error:` line."""
    words = list(sys.argv[1:] if argv is None else argv)
    return answer(lambda: run.run(parser().parse_args(words)))


def parser() -> Parser:
    """The parser of `mlx-train`: the arguments of `mlx-distributed run`."""
    made = Parser(prog="mlx-train", description=run.HELP)
    run.add_arguments(made)
    return made
