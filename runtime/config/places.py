"""Paths of keys, findings about them, and where each value was written.

A path is what TOML means: ("data", "source", 0, "path"). Its dotted form is what a person reads and what `--set`
takes: `data.source[0].path`. Its key is the path without positions: what the schema, the rules and the hints speak of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from runtime.errors import Problem

Path: TypeAlias = tuple[str | int, ...]
Key: TypeAlias = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r"""\s*(?:(?P<bare>[A-Za-z0-9_-]+)|"(?P<double>[^"\\]*)"|'(?P<single>[^']*)')\s*""")
_POSITION = re.compile(r"\[(\d{1,6})\]\s*")


@dataclass(frozen=True)
class Finding:
    """One thing wrong with the value at `path`, not yet tied to a file."""

    path: Path
    fact: str
    fix: str = ""
    suspects: tuple[Key, ...] = ()
    """Keys that were perhaps meant: what follows from their default is not worth a second complaint."""


def dotted(path: Path) -> str:
    """The form that a person reads: `data.source[0].path`; a part that TOML would have to quote is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False))
    return text


def parse_dotted(text: str) -> Path | None:
    """The inverse of `dotted`; None when `text` is no dotted key."""
    path: Path = ()
    at = 0
    while True:
        part = _PART.match(text, at)
        if part is None:
            return None
        path += (part[part.lastgroup or "bare"],)
        at = part.end()
        while position := _POSITION.match(text, at):
            path += (int(position[1]),)
            at = position.end()
        if at == len(text):
            return path
        if text[at] != ".":
            return None
        at += 1


def key_of(path: Path) -> Key:
    """The path without positions in lists."""
    return tuple(part for part in path if isinstance(part, str))


def overlap(one: Key, other: Key) -> bool:
    """Whether one of the two keys is the other, or a table around it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


@dataclass(frozen=True)
class Places:
    """Where each value came from: a line of the file, an override of the command line, or nowhere (a default)."""

    file: str
    lines: Mapping[Path, int]
    overrides: frozenset[Path] = frozenset()

    def overridden(self, path: Path) -> bool:
        """Whether `--set` wrote this value, or a value around it."""
        return any(path[:length] in self.overrides for length in range(1, len(path) + 1))

    def written(self, path: Path) -> bool:
        """Whether somebody wrote this value; otherwise it is a default."""
        return self.overridden(path) or path in self.lines

    def origin(self, path: Path) -> str:
        """`--set`, `quickstart.toml:14`, or `default`."""
        if self.overridden(path):
            return "--set"
        return f"{self.file}:{self.lines[path]}" if path in self.lines else "default"

    def place(self, path: Path) -> str:
        """`quickstart.toml:14 optim.lr`, or `--set optim.lr`; of a value that nobody wrote, the line of its table."""
        if self.overridden(path):
            return f"--set {dotted(path)}"
        return f"{self.file}:{self.line(path)} {dotted(path)}"

    def line(self, path: Path) -> int:
        """The line of this value, or of the nearest table around it, or 1."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 1)

    def problem(self, finding: Finding) -> Problem:
        """The finding, tied to its place."""
        return Problem(self.place(finding.path), finding.fact, finding.fix)

    def order(self, finding: Finding) -> tuple[bool, int, str]:
        """Sorts findings as a reader meets them: down the file, then the command line."""
        return self.overridden(finding.path), self.line(finding.path), dotted(finding.path)
