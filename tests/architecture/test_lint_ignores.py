"""A silenced warning says why, beside it; a reader must not have to guess whether it was laziness."""

from __future__ import annotations

import re

import pytest

from tests.support.repository import ROOT, comments, python_files, text_of

SILENCER = re.compile(
    r"#\s*(?:noqa(?P<ruff>:\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?"
    r"|type:\s*ignore(?P<mypy>\[[\w\-, ]+\])?"
    r"|pragma:\s*no (?P<coverage>cover|branch))(?P<rest>.*)"
)
WORDS = re.compile(r"[A-Za-z]{2,}")


def unexplained(line: str) -> bool:
    """Whether `line` silences a tool without naming the rule or without a reason of at least two words."""
    found = SILENCER.search(line)
    if found is None:
        return False
    names_rule = any(found[tool] for tool in ("ruff", "mypy", "coverage"))
    return not names_rule or len(WORDS.findall(found["rest"])) < 2


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("x = 1", False),
        ("import a  # noqa", True),
        ("import a  # noqa: F401", True),
        ("import a  # noqa: F401, E501  re-exported for the plug-ins", False),
        ("f()  # type: ignore", True),
        ("f()  # type: ignore[arg-type]", True),
        ("f()  # type: ignore[arg-type]  # the stub is wrong about None", False),
        ("if x:  # pragma: no cover", True),
        ("if x:  # pragma: no cover (only on macOS)", False),
    ],
)
def test_a_silencer_needs_its_rule_and_two_words_of_reason(line: str, verdict: bool) -> None:
    assert unexplained(line) is verdict


def test_every_ignore_in_the_code_has_its_reason() -> None:
    found = [
        f"{path}:{number} {comment}"
        for path in python_files()
        if SILENCER.search(text_of(path) or "")  # to tell comments from strings takes seconds
        for number, comment in comments(path)
        if unexplained(comment)
    ]
    assert found == []


def test_every_ignore_in_the_linter_settings_has_its_reason() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^ignore = \[\n(.*?)^\]", settings, flags=re.DOTALL | re.MULTILINE)
    per_file_block = r"^\[tool\.ruff\.lint\.per-file-ignores\]\n(.*?)(?:^\[|\Z)"
    (per_file,) = re.findall(per_file_block, settings, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in [*lists, per_file] for line in block.splitlines() if line.strip()]
    assert lists
    assert [line for line in lines if len(WORDS.findall(line.partition("#")[2])) < 2] == []
