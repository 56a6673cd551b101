"""Imports go downwards, statically by import-linter and at run time by what a process really holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from console.cli.main import COMMANDS
from tests.support.repository import ROOT, tracked, tree_of

HEAVY = {
    "asyncio",
    "grpc",
    "mlx",
    "mlx_lm",
    "numpy",
    "pydantic",
    "rich",
    "textual",
    "tomlkit",
    "transformers",
    "trio",
    "wandb",
}
PURE = [
    "runtime/cluster/boundary.py",
    "runtime/cluster/core.py",
    "runtime/cluster/division.py",
    "runtime/cluster/ending.py",
    "runtime/cluster/gathering.py",
    "runtime/cluster/outcome.py",
    "runtime/cluster/placement.py",
    "runtime/collectives/exchange.py",
    "runtime/events/fold.py",
    "runtime/pipeline/actions.py",
    "runtime/pipeline/choice.py",
    "runtime/pipeline/costs.py",
    "runtime/pipeline/partition.py",
    "runtime/pipeline/schedules.py",
    "runtime/pipeline/simulator.py",
    "runtime/pipeline/transfers.py",
    "runtime/pipeline/validator.py",
    "runtime/supervision/backoff.py",
    "runtime/supervision/core.py",
    "runtime/view/advice.py",
    "runtime/view/build.py",
    "runtime/view/logs.py",
    "runtime/view/metrics.py",
    "runtime/view/rules.py",
]
"""Decisions: functions of data and time. Their callers own the loop, the arrays and the disk."""


def modules_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after `code`."""
    script = f"{code}\nimport sys\nprint('\\n<modules>', *sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("<modules>")[2].split())


def packages_after(code: str) -> set[str]:
    """Top-level packages of the same."""
    return {name.partition(".")[0] for name in modules_after(code)}


def test_every_import_goes_downwards_and_every_room_has_a_layer() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_help_costs_an_interpreter_and_argparse() -> None:
    modules = modules_after("from console.cli import main; assert main.main(['--help']) == 0")
    ours = {name for name in modules if name.startswith(("runtime.", "console."))}
    cli = {"console.cli", "console.cli.main", "console.cli.invocation"}
    assert ours == cli | {"runtime.errors", "runtime.app", "runtime.app.exits"}
    assert HEAVY & modules == set()


def test_no_parser_of_a_command_costs_more_than_argparse() -> None:
    code = [
        "import sys",
        "def heavy(name):",
        f"    if {HEAVY!r} & {{each.partition('.')[0] for each in sys.modules}}: sys.exit(f'{{name}} is heavy')",
        "from console.cli import main",
        f"for name in {list(COMMANDS)!r}: main.parser_of(name, main.load(name)); heavy(name)",
        "from console.cli import train; train.parser(); heavy('mlx-train')",
        "from console.cli import serve; serve.parser(); heavy('mlx-serve')",
    ]
    assert "argparse" in modules_after("\n".join(code))


def test_a_run_loads_no_terminal_app_and_its_root_loads_no_mlx() -> None:
    packages = packages_after("import runtime.app.run")
    assert "trio" in packages
    assert {"textual", "mlx", "mlx_lm", "transformers", "wandb"} & packages == set()


@pytest.mark.parametrize("path", PURE)
def test_a_pure_decision_imports_no_event_loop_no_arrays_and_no_clock(path: str) -> None:
    effects = {"asyncio", "grpc", "mlx", "numpy", "os", "random", "subprocess", "threading", "time", "trio"}
    imports = [node for node in ast.walk(tree_of(Path(path))) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    assert effects & {name.partition(".")[0] for name in names} == set()


def test_packages_hold_a_docstring_and_no_imports_that_their_users_do_not_ask_for() -> None:
    shells = [
        "console/__init__.py",
        "console/cli/__init__.py",
        "console/cli/commands/__init__.py",
        "runtime/__init__.py",
    ]
    assert {Path(name) for name in shells} <= set(tracked(".py"))
    assert [
        name for name in shells if "import " in (ROOT / name).read_text(encoding="utf-8").partition('"""\n')[2]
    ] == []
