"""Nothing grows unnoticed: the one place where every admired codebase fails is the file that was central."""

from __future__ import annotations

import ast

from tests.support.repository import Function, functions, python_files, text_of, tree_of

MOST_LINES = 400
MOST_STATEMENTS = 50


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    lines = {path: len((text_of(path) or "").splitlines()) for path in python_files()}
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_has_more_than_fifty_statements() -> None:
    long = {
        f"{path}:{function.lineno} {function.name}": statements(function)
        for path in python_files()
        for function in functions(tree_of(path))
        if has_so_many_lines(function) and statements(function) > MOST_STATEMENTS
    }
    assert long == {}


def test_statements_are_counted_without_the_docstring_and_with_nested_bodies() -> None:
    (function,) = functions(ast.parse('def f(x):\n    """Doc."""\n    if x:\n        return 1\n    return 2\n'))
    assert statements(function) == 3


def has_so_many_lines(function: Function) -> bool:
    """Whether it can have too many statements, of which the linter allows one a line; counting them takes longer."""
    return (function.end_lineno or 0) - function.lineno >= MOST_STATEMENTS


def statements(function: Function) -> int:
    """Statements in the body of `function`, the docstring aside."""
    inside = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    return inside - (ast.get_docstring(function) is not None)
