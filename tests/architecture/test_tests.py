"""Rules for the tests themselves: each can fail, none waits on the real clock, none replaces our own code by a mock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import functions, python_files, text_of, tree_of

POLLS = Path("tests/support/waiting.py")
"""The one file that may wait in small pauses: a growing file and a dying stranger have no readiness to wait for."""

ASSERTS = re.compile(r"\bassert\b|raises|assert_|expect|check_|approx|snap_compare|fails_with")
SLEEPS = re.compile(r"\btime\.sleep\(|\btrio\.sleep\((?!0\))|\basyncio\.sleep\((?!0\))")
VIRTUAL_CLOCKS = ("autojump_clock", "mock_clock")


def faults_of_test(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What is wrong with one test function."""
    nodes = list(ast.walk(function))
    if not any(isinstance(node, ast.Assert) for node in nodes) and not ASSERTS.search(ast.unparse(function)):
        yield "asserts nothing that can be seen"
    if any(isinstance(node, ast.Attribute) and node.attr == "sleep" for node in nodes):
        body = ast.unparse(function)
        if SLEEPS.search(body) and not any(clock in body for clock in VIRTUAL_CLOCKS):
            yield "sleeps on the real clock"


def mocks(tree: ast.Module) -> Iterator[str]:
    """Imports of mock libraries, and attributes of our own modules that a test replaces."""
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            ours |= imported_from_us(node)
            names = [alias.name for alias in node.names]
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if any("mock" in name.split(".")[-1].lower() and "Clock" not in name for name in [module, *names]):
                yield f"{node.lineno} imports a mock"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_monkeypatching(node.func):
            target = ".".join(ast.unparse(argument).strip("'\"") for argument in node.args[:-1])
            is_constant = target.rpartition(".")[2].isupper()  # a limit or a path made small is no mock of behaviour
            if target.split(".")[0] in {"runtime", "console", *ours} and not is_constant:
                yield f"{node.lineno} replaces {target}"


def imported_from_us(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Names that an import statement binds to something of ours."""
    if isinstance(node, ast.ImportFrom):
        inside = (node.module or "").split(".")[0] in {"runtime", "console"}
        return {alias.asname or alias.name for alias in node.names} if inside else set()
    return {alias.asname for alias in node.names if alias.asname and alias.name.split(".")[0] in {"runtime", "console"}}


def test_every_test_can_fail_and_none_sleeps() -> None:
    found = [
        f"{path}:{function.lineno} {function.name}: {fault}"
        for path in python_files()
        if path.name.startswith("test_")
        for function in functions(tree_of(path))
        if function.name.startswith("test_")
        for fault in faults_of_test(function)
    ]
    assert found == []


def test_no_helper_of_the_tests_sleeps_but_the_one_that_polls() -> None:
    found = [
        str(path)
        for path in python_files()
        if path.parts[0] == "tests" and path != POLLS and "sleep" in (text_of(path) or "")
        if sleeps_for_real(tree_of(path))
    ]
    assert found == []


def test_no_test_mocks_our_own_code() -> None:
    found = [
        f"{path}:{fault}"
        for path in python_files()
        if path.parts[0] == "tests" and re.search("mock|setattr", text_of(path) or "", re.IGNORECASE)
        for fault in mocks(tree_of(path))
    ]
    assert found == []


def test_every_test_file_stands_in_a_folder_of_its_kind() -> None:
    kinds = {"unit", "integration", "e2e", "benchmarks", "chaos", "architecture"}
    found = [path for path in python_files() if path.name.startswith("test_") and path.parts[1] not in kinds]
    assert found == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("def test_a():\n    assert f()", []),
        ("def test_a():\n    with pytest.raises(ValueError):\n        f()", []),
        ("def test_a():\n    f()", ["asserts nothing that can be seen"]),
        ("def test_a():\n    time.sleep(1)\n    assert f()", ["sleeps on the real clock"]),
        ("async def test_a():\n    await trio.sleep(1)\n    assert f()", ["sleeps on the real clock"]),
        ("async def test_a():\n    await trio.sleep(0)\n    assert f()", []),
        ("async def test_a(autojump_clock):\n    await trio.sleep(99)\n    assert f()", []),
    ],
)
def test_a_test_that_sleeps_or_cannot_fail_is_found(source: str, faults: list[str]) -> None:
    (function,) = functions(ast.parse(source))
    assert list(faults_of_test(function)) == faults


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from unittest import mock", 1),
        ("from unittest.mock import patch", 1),
        ("from trio.testing import MockClock", 0),
        ("import runtime.flow as flow\ndef f(monkeypatch):\n    monkeypatch.setattr(flow, 'x', 1)", 1),
        ("def f(monkeypatch):\n    monkeypatch.setattr('runtime.flow.x', 1)", 1),
        ("from runtime import ids\ndef f(monkeypatch):\n    monkeypatch.setattr(ids, '_MOST_BYTES', 1)", 0),
        ("import os\ndef f(monkeypatch):\n    monkeypatch.setattr(os, 'x', 1)", 0),
    ],
)
def test_a_mock_of_our_own_code_is_found(source: str, count: int) -> None:
    assert len(list(mocks(ast.parse(source)))) == count


def sleeps_for_real(tree: ast.Module) -> bool:
    """Whether a file calls time.sleep: it blocks the thread and no virtual clock can help."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(last_word(call.func) == "sleep" and ast.unparse(call.func) in {"time.sleep", "sleep"} for call in calls)


def is_monkeypatching(called: ast.expr) -> bool:
    """Whether this is monkeypatch's setattr."""
    return last_word(called) == "setattr" and ast.unparse(called).endswith("monkeypatch.setattr")


def last_word(called: ast.expr) -> str:
    """`sleep` of trio.sleep; looked at first, because to unparse everything takes seconds."""
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
