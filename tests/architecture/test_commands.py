"""The table of commands and the modules behind it say the same."""

from __future__ import annotations

from console.cli.main import COMMANDS, load, overview
from tests.support.repository import tracked


def test_help_lists_exactly_the_commands_that_exist() -> None:
    modules = {path.stem.replace("_", "-") for path in tracked(".py") if path.match("console/cli/commands/*.py")}
    assert modules - {"--init--"} == set(COMMANDS)
    assert all(f"  {name} " in overview() for name in COMMANDS)


def test_a_command_says_the_same_in_the_overview_and_in_its_own_help() -> None:
    assert {name: load(name).HELP for name in COMMANDS} == COMMANDS
