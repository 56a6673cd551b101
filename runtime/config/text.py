"""A file of the disk becomes raw values and their lines, or one problem that says what to do about it.

Its name says what it is: YAML where it ends with .yaml or .yml, TOML otherwise. What is found wrong later is the same.
"""

from __future__ import annotations

import pathlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.config.lines import line_index
from runtime.config.places import Path
from runtime.errors import ConfigError, Problem

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")
_TUPLE = re.compile(r"\('[^()]*\)")
_PYTHON_BOOLEAN = re.compile(r"=\s*(True|False|TRUE|FALSE|yes|no|on|off)\s*(#|$)")
_NULL = re.compile(r"=\s*(None|null|nil|~)\s*(#|$)")
_NO_VALUE = re.compile(r"=\s*(#|$)")
_BARE_DOT = re.compile(r"=\s*([+-]?)\.(\d+)")
_BARE_TEXT = re.compile(r"^\s*(?P<key>[\w.-]+)\s*=\s*(?P<text>[A-Za-z_~./][^\s#\"']*)\s*(#|$)")
_BACKSLASH = "in double quotes a backslash is written twice; single quotes take the text as it is"
_YAML = re.compile(r"^\s*[\w.-]+\s*:(\s|$)")


@dataclass(frozen=True)
class Document:
    """What a file says, unchecked, and the line of everything that it says."""

    raw: dict[str, Any]
    lines: Mapping[Path, int]


def read_document(path: pathlib.Path) -> Document:
    """Reads the file; raises ConfigError with one problem unless it is a document with at least one key."""
    return document_of(path, _read(path))


def document_of(path: pathlib.Path, text: str) -> Document:
    """What `text`, which stands in `path` or is meant to, says. Raises ConfigError as above."""
    try:
        raw, lines = _parsed(path, text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from None
    except RecursionError:
        raise ConfigError([Problem(str(path), "is nested too deeply to be a configuration")]) from None
    except ValueError as error:  # int() refuses numbers of thousands of digits
        raise ConfigError([Problem(str(path), f"holds a number that cannot be read ({error})")]) from None
    if not raw:
        raise ConfigError(
            [Problem(str(path), "holds no settings", "`mlx-distributed config new NEW.toml` writes a commented file")]
        )
    return Document(raw, lines)


def is_yaml(path: pathlib.Path) -> bool:
    """Whether a file of this name is read as YAML."""
    return path.suffix.lower() in {".yaml", ".yml"}


def _parsed(path: pathlib.Path, text: str) -> tuple[dict[str, Any], Mapping[Path, int]]:
    if not is_yaml(path):
        return tomllib.loads(text), line_index(text)
    from runtime.config.yaml_text import YamlError, read_yaml  # only who reads YAML waits for its import

    try:
        return read_yaml(text)
    except YamlError as error:
        raise ConfigError([Problem(f"{path}:{error.line}", error.fact, error.fix)]) from None


def _read(path: pathlib.Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        fix = f"`mlx-distributed config new {path}` writes a commented one"
        raise ConfigError([Problem(str(path), "no such file", fix)]) from None
    except IsADirectoryError:
        raise ConfigError([Problem(str(path), "is a folder", "name the .toml file inside it")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fact = f"is not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise ConfigError([Problem(f"{path}:{line}", fact, "save it as UTF-8")]) from None


def _syntax_problem(path: pathlib.Path, text: str, message: str) -> Problem:
    position = _POSITION.search(message)
    lines = text.split("\n")
    number = int(position["line"]) if position and position["line"] else len(text.rstrip("\n").split("\n"))
    line = lines[number - 1]
    what = message[: position.start()] if position else message
    fix = syntax_fix(what, line)
    if not fix and position and not position["line"]:
        fix = "the file ends too early: something is left open"
    what = _TUPLE.sub(lambda names: "[" + ".".join(re.findall(r"'([^']*)'", names[0])) + "]", what)
    return Problem(f"{path}:{number}", f"is not TOML ({what[:1].lower()}{what[1:]})", fix)


def syntax_fix(message: str, line: str) -> str:
    """The likely fix for what `tomllib` says about this line; "" when none is likely."""
    if match := _PYTHON_BOOLEAN.search(line):
        return "write " + ("true" if match[1].lower() in {"true", "yes", "on"} else "false")
    if _NULL.search(line):
        return "TOML has no null: leave the key out and it takes its default"
    if _YAML.match(line):
        return "write key = value, not key: value"
    if _NO_VALUE.search(line):
        return "write a value after the equals sign"
    if match := _BARE_DOT.search(line):
        return f"write {match[1]}0.{match[2]}"
    return _fix_by_message(message) or _fix_bare_text(line)


def _fix_by_message(message: str) -> str:
    hints = {
        "Cannot declare": "this table is already there: put both parts under one header",
        "Cannot overwrite": "this key is already there: keep one of the two",
        "Illegal character '\\n'": "close the quotes on the same line",
        "Unterminated string": "close the quotes",
        "Unescaped '\\'": _BACKSLASH,
        "Invalid hex value": _BACKSLASH,
        "Unclosed array": 'close the list with "]"',
        "Unclosed inline table": 'close the table with "}" on the same line',
        "Expected ']' at the end of a table declaration": 'close the name of the table with "]"',
        "Expected ']]' at the end of an array declaration": 'close the name of the table with "]]"',
    }
    return next((hint for beginning, hint in hints.items() if message.startswith(beginning)), "")


def _fix_bare_text(line: str) -> str:
    match = _BARE_TEXT.match(line)
    return f'text needs quotes: {match["key"]} = "{match["text"]}"' if match else ""
