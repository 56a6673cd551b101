"""The repository as data: which files git would carry, and what stands in them."""

from __future__ import annotations

import ast
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked(suffix: str = "") -> tuple[Path, ...]:
    """Files that git tracks or would add, relative to the root; those deleted in the work tree are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = {Path(name) for name in listed.split("\0") if name.endswith(suffix) and name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def is_generated(path: Path) -> bool:
    """Whether `path` was written by protoc."""
    return "_pb2" in path.name


def python_files() -> list[Path]:
    """Every Python file that a person wrote."""
    return [path for path in tracked(".py") if not is_generated(path)]


def text_of(path: Path) -> str | None:
    """The text of a tracked file, or None when it holds something else."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each comment of a Python file; what only looks like one inside a string is none."""
    with (ROOT / path).open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method in `tree`, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))
