"""`config check`, `config show`, `config new`, `config import`: a configuration before anything is started."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from console.cli import config_import
from console.cli.configured import add_config

if TYPE_CHECKING:
    from runtime.config.load import Resolved
    from runtime.errors import ConfigError

_Parser = TypeVar("_Parser", bound=argparse.ArgumentParser)

HELP = "make, check or show a configuration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the four subcommands."""
    commands = parser.add_subparsers(dest="config_command", required=True, metavar="check|show|new|import")
    check = _subcommand(commands, "check", "list everything that is wrong with a configuration")
    check.set_defaults(act=_check)
    show = _subcommand(commands, "show", "print every value and where it came from")
    show.set_defaults(act=_show)
    for reader in (check, show):
        add_config(reader)
        reader.add_argument("--json", action="store_true", help="print JSON on stdout")
    new = _subcommand(commands, "new", "write a commented file with every key and its default")
    new.set_defaults(act=_new)
    new.add_argument(
        "path", type=Path, nargs="?", default=Path("config.toml"), metavar="PATH", help="default: %(default)s"
    )
    config_import.add_arguments(_subcommand(commands, "import", config_import.HELP))


def _subcommand(commands: argparse._SubParsersAction[_Parser], name: str, help_line: str) -> _Parser:
    return commands.add_parser(name, help=help_line, description=help_line)


def run(args: argparse.Namespace) -> int:
    """Does what the subcommand says: 0, or 2 when the configuration is wrong."""
    code: int = args.act(args)
    return code


def _check(args: argparse.Namespace) -> int:
    from runtime.config.load import resolve
    from runtime.errors import ConfigError

    try:
        resolved = resolve(args.config, args.overrides)
    except ConfigError as error:
        if args.json:
            problems = [{"place": p.place, "fact": p.fact, "fix": p.fix} for p in error.problems]
            _print_json({"path": str(args.config), "ok": False, "problems": problems})
        return _refuse(args.config, error)
    if args.json:
        _print_json({"path": str(args.config), "ok": True, "problems": []})
    else:
        print(f"{args.config}: nothing wrong ({_counts(resolved)})")
    return 0


def _show(args: argparse.Namespace) -> int:
    from runtime.config.load import resolve
    from runtime.config.save import as_toml, with_origins
    from runtime.errors import ConfigError

    try:
        resolved = resolve(args.config, args.overrides)
    except ConfigError as error:
        return _refuse(args.config, error)
    if args.json:
        _print_json({"config": as_toml(resolved.config), "origins": dict(resolved.origins)})
    else:
        print(with_origins(resolved.config, resolved.origins), end="")
    return 0


def _new(args: argparse.Namespace) -> int:
    from runtime.config.save import template
    from runtime.errors import UsageError

    path: Path = args.path
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(template())
    except FileExistsError:
        raise UsageError(f"{path} is already there and stays as it is; name another file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    print(path)
    print(f"next: edit {path}, then `mlx-distributed config check {path}`", file=sys.stderr)
    return 0


def _refuse(path: Path, error: ConfigError) -> int:
    for problem in error.problems:
        print(problem, file=sys.stderr)
    count = len(error.problems)
    print(f"{path}: {count} problem{'s' if count > 1 else ''}, nothing was started", file=sys.stderr)
    return 2


def _counts(resolved: Resolved) -> str:
    origins = list(resolved.origins.values())
    defaults = origins.count("default")
    return f"{len(origins) - defaults} values set, {defaults} at their default"


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))
