"""`mlx-distributed`: a table of commands. Help comes from the table alone; a command's module is imported when chosen.

So `mlx-distributed --help` costs an interpreter and argparse, and no command pays for another one's imports.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol, cast

from console.cli.invocation import USAGE, Parser, answer, did_you_mean
from runtime.app.exits import be_gone
from runtime.errors import UsageError

COMMANDS = {
    "run": "train as a configuration says: supervised, headless, resumed after an interruption",
    "plan": "what a run needs per device, before anything is started: memory, stages, schedule",
    "config": "make, check or show a configuration",
    "data": "show what a configuration trains on: samples with the learnt part marked, and what is left out",
    "checkpoints": "list, verify, export, prune, pin or delete the checkpoints of a run",
    "console": "look at a run and steer it, in this terminal",
    "status": "where a live run is: step, loss, workers",
    "plot": "the curves of a run in the terminal, or as a report: .html, .svg, .png",
    "alarms": "what is wrong with a run: cause, fix and the command that does it",
    "logs": "what the processes of a run say, merged by time; -f follows",
    "stop": "ask a live run to finish its step, write a checkpoint and end",
    "pause": "let a live run finish its step and wait; its workers stay",
    "resume": "let a paused run go on",
    "checkpoint": "have a live run write a checkpoint at the next step boundary",
    "restart": "start an actor of a live run anew, at no cost to its restart limit",
    "kill": "kill the process of an actor of a live run, as a test or as the last resort",
    "workers": "add a worker to a live run, or remove one",
    "evaluate": "held-out loss and scores of a run's checkpoint or of a model folder",
    "audit": "prove from a run's journal that every sample was trained on exactly once",
    "doctor": "look at this machine: Python, MLX, BLAS and its speed, memory; or at the way to another one",
    "node": "have a worker of a run here: what the run itself starts on this machine, over ssh",
    "dial-stdio": "bridge stdin and stdout to a live run, for ssh: `ssh -T HOST mlx-distributed dial-stdio`",
}
"""name -> one line; the command `a-b` lives in console/cli/commands/a_b.py."""

DESCRIPTION = "Train language models with MLX on the machines you own: supervised, exact, resumable."


class Command(Protocol):
    """What a module under console/cli/commands offers; importing it costs argparse and nothing else."""

    HELP: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the command's arguments."""

    def run(self, args: Namespace) -> int:
        """Do it, and return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `mlx-distributed`: returns the exit code, prints at most one `error:` line."""
    words = list(sys.argv[1:] if argv is None else argv)
    return answer(lambda: dispatch(words))


def dispatch(words: Sequence[str]) -> int:
    """Run the command that `words` begins with.

    Raises:
        UsageError: no such command, or arguments that it does not take.
    """
    if not words:
        print(overview(), file=sys.stderr, end="")
        return USAGE
    name, *rest = words
    if name in {"-h", "--help"}:
        print(overview(), end="")
        return 0
    if name == "--version":
        print(version())
        return 0
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        hint = did_you_mean(name, [*COMMANDS, "--help", "--version"])
        raise UsageError(f"there is no {kind} {name}{hint}; see mlx-distributed --help")
    command = load(name)
    return command.run(parser_of(name, command).parse_args(rest))


def entry() -> NoReturn:
    """What the installed script calls: `main`, and the end of the process right after it."""
    be_gone(main())


def load(name: str) -> Command:
    """The module of the command `name`."""
    return cast("Command", import_module(f"console.cli.commands.{name.replace('-', '_')}"))


def parser_of(name: str, command: Command) -> Parser:
    """The parser of `mlx-distributed <name>`."""
    parser = Parser(prog=f"mlx-distributed {name}", description=command.HELP)
    command.add_arguments(parser)
    return parser


def overview() -> str:
    """What `--help` prints: the commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mlx-distributed COMMAND ...",
            "",
            DESCRIPTION,
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  -h, --help  this text; `mlx-distributed COMMAND --help` tells what a command takes",
            "  --version   the installed version",
            "",
        ]
    )


def version() -> str:
    """`mlx-distributed 0.1.0`, as the installed package says."""
    from importlib.metadata import version as installed

    return f"mlx-distributed {installed('mlx-distributed')}"
