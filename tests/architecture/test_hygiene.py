"""What must not stand in a repository: machines, registries, promises to finish later, stray top-level files."""

from __future__ import annotations

import re

import pytest

from tests.support.repository import python_files, text_of, tracked

REGISTRY = re.compile(r"pyp[i][.]org|python[h]osted|np[m]js[.]org|deb[.]de[b]ian[.]")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:wor[k]|far[m]|roo[t])/")
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HAC[K])\b|NotImplemented[E]rror")
SMALL_BYTES = 1_000_000


def matches(pattern: re.Pattern[str]) -> list[str]:
    """`file:line text` of every tracked text line that `pattern` finds."""
    return [
        f"{path}:{number} {line.strip()[:90]}"
        for path in tracked()
        if (text := text_of(path)) is not None and len(text) < SMALL_BYTES
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_registry_host() -> None:
    assert matches(REGISTRY) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert matches(MACHINE_PATH) == []


def test_nothing_is_left_for_later() -> None:
    assert matches(UNFINISHED) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRY, "https://pyp_i.org/simple"),
        (MACHINE_PATH, "open('/wor_k/x')"),
        (UNFINISHED, "# TO_DO later"),
    ],
)
def test_the_patterns_find_what_they_look_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text) is None
    assert pattern.search(text.replace("_", ""))  # written so that this file itself stays clean


def test_the_top_level_holds_what_the_plan_says_and_dot_files() -> None:
    top = {path.parts[0] for path in tracked()}
    planned = {"pyproject.toml", "README.md", "console", "runtime", "proto", "configs", "tests"}
    assert {name for name in top if not name.startswith(".")} == planned


def test_no_module_of_the_runtime_is_called_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "main"}
    assert [str(path) for path in python_files() if path.parts[0] == "runtime" and path.stem in vague] == []


def test_every_folder_of_tests_is_used() -> None:
    kinds = {path.parts[1] for path in tracked() if path.parts[0] == "tests" and len(path.parts) > 2}
    assert kinds >= {"unit", "integration", "e2e", "benchmarks", "architecture", "fixtures", "support"}
