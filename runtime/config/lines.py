"""The line of every table, key and list element of a TOML text.

`tomllib` reads the values and forgets where they stood. This scanner does the opposite: it walks over a text that
`tomllib` has already accepted, skips the values and keeps the lines. So it may assume that the text is valid, and
needs to know only where things begin and end.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

from runtime.config.places import Path

_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # a multi-line string may end with two quotes of its own
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")


def line_index(text: str) -> Mapping[Path, int]:
    """The line, from 1, of each path in `text`, which `tomllib` accepts.

    A table's line is its header's; of a table that has none, the first line that implies it. A key's line is where
    the key begins, a list element's is where the element begins.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._breaks = [position for position, letter in enumerate(text) if letter == "\n"]
        self._elements: dict[Path, int] = {}  # how many [[tables]] each list of tables has so far

    def document(self) -> None:
        table: Path = ()
        while self._skip(_BLANK_LINES) < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header(brackets=2)
            elif self.text[self.at] == "[":
                table = self._header(brackets=1)
            else:
                self._pair(table)

    def _line(self) -> int:
        return bisect_left(self._breaks, self.at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        """Moves behind what `pattern` matches here, if anything, and returns the new position."""
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
        return self.at

    def _token(self, pattern: re.Pattern[str]) -> str:
        start = self.at
        return self.text[start : self._skip(pattern)]

    def _header(self, *, brackets: int) -> Path:
        line = self._line()
        self.at += brackets
        path: Path = ()
        names = self._dotted_key()
        for name in names[:-1]:
            path = self._last_element((*path, name))
            self.lines.setdefault(path, line)
        path = (*path, names[-1])
        if brackets == 2:
            self.lines.setdefault(path, line)
            self._elements[path] = self._elements.get(path, 0) + 1
            path = self._last_element(path)
        self.lines[path] = line
        self.at += brackets
        return path

    def _last_element(self, path: Path) -> Path:
        return (*path, self._elements[path] - 1) if path in self._elements else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for name in self._dotted_key():
            path = (*path, name)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self._value(path)

    def _dotted_key(self) -> list[str]:
        names = []
        while True:
            self._skip(_BLANK)
            if self.text[self.at] in "\"'":
                names.append(next(iter(tomllib.loads(f"{self._token(_STRING)} = 0"))))
            else:
                names.append(self._token(_BARE_KEY))
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        first = self.text[self.at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_BARE_VALUE)

    def _array(self, path: Path) -> None:
        self.at += 1
        position = 0
        while self.text[self._skip(_BLANK_LINES)] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.lines[(*path, position)] = self._line()
            self._value((*path, position))
            position += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self.text[self._skip(_BLANK_LINES)] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1
