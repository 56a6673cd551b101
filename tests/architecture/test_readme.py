"""README tells the truth: its commands are accepted by our parsers, its paths exist."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from console.cli import main, serve, train
from console.state.keymap import as_table
from tests.support.repository import ROOT, tracked

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
REPOSITORY_PATH = re.compile(
    r"(?<![\w./-])(?:(?:console|runtime|proto|configs|tests|\.ci)/[\w./*-]*\w|pyproject\.toml)"
)
KEYS_BEGIN = "<!-- keys: written by write_keys of tests/architecture/test_readme.py -->\n\n"
KEYS_END = "\n\n<!-- end of keys -->"
OURS = {"mlx-distributed", "mlx-train", "mlx-serve"}


def commands() -> Iterator[list[str]]:
    """Every command of ours in the shell blocks of README, without `uv run`, as words; `a && b` is two commands."""
    for language, block in FENCE.findall(README):
        if language not in {"sh", "bash", "console"}:
            continue
        for command in (one for line in block.splitlines() for one in line.removeprefix("$ ").split(" && ")):
            words = shlex.split(command, comments=True)
            words = words[2:] if words[:2] == ["uv", "run"] else words
            if words and words[0] in OURS:
                yield words


def parser_for(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser that `words` reach, and what is left for it."""
    match words[0]:
        case "mlx-train":
            return train.parser(), words[1:]
        case "mlx-serve":
            return serve.parser(), words[1:]
        case _:
            return main.parser_of(words[1], main.load(words[1])), words[2:]


def test_readme_shows_every_command() -> None:
    shown = {words[1] if words[0] == "mlx-distributed" else words[0] for words in commands()}
    assert shown >= {*main.COMMANDS, "mlx-train", "mlx-serve"}


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_a_command_in_readme_is_accepted(words: list[str]) -> None:
    if words[1:] in (["--help"], ["--version"]):
        assert main.main(words[1:]) == 0
        return
    parser, rest = parser_for(words)
    assert parser.parse_args(rest) is not None


def test_every_path_in_readme_exists() -> None:
    known = {str(path) for path in tracked()}
    folders = {str(folder) for path in tracked() for folder in path.parents}
    named = {found.rstrip("/") for found in REPOSITORY_PATH.findall(README)}
    assert {path for path in named if "*" not in path} <= known | folders
    assert [path for path in named if "*" in path and not list(ROOT.glob(path))] == []
    assert len(named) > 20


def test_every_room_of_the_runtime_is_in_the_file_map() -> None:
    rooms = {path.parts[1] for path in tracked(".py") if path.parts[0] == "runtime" and len(path.parts) > 2}
    assert {room for room in rooms if f"{room}/" not in README} == set()


def with_keys(page: str) -> str:
    """The page with the table of keys as it is now."""
    before, begin, rest = page.partition(KEYS_BEGIN)
    _, end, after = rest.partition(KEYS_END)
    assert begin
    assert end
    return f"{before}{begin}{as_table()}{end}{after}"


def write_keys() -> None:
    """Put it into README: `python -P -c "from tests.architecture.test_readme import write_keys; write_keys()"`."""
    (ROOT / "README.md").write_text(with_keys(README), encoding="utf-8")


def test_the_keys_of_the_console_are_those_of_its_one_table() -> None:
    assert with_keys(README) == README, "a key has changed; write_keys() of this file writes them into README"
