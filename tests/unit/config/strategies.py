"""Hypothesis strategies: any value that the schema allows, and any TOML text with the line of each of its keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from runtime.config.fields import all_keys
from runtime.config.model import ScratchSettings
from runtime.config.places import Path
from runtime.config.schema import Config
from runtime.config.validate import validate

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FURTHER = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of the type of a key, mostly within its limits."""
    if get_origin(kind) is Annotated:
        return values(get_args(kind)[0])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of([values(argument) for argument in arguments])
    if origin is tuple:
        if arguments[-1] is not Ellipsis:
            return st.tuples(*(values(argument) for argument in arguments)).map(list)
        return st.lists(values(arguments[0]), max_size=3, unique=True)
    if origin is Mapping:
        return st.dictionaries(TEXTS, TEXTS.filter(bool), max_size=3)
    plain: Mapping[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(0, 40),
        float: st.floats(0, 1, exclude_max=True, allow_subnormal=False) | st.integers(0, 40),
        str: TEXTS,
    }
    return plain[kind]


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration with some keys away from their default; rules across fields are not looked at."""
    raw: dict[str, Any] = {}
    for key, field in all_keys().items():
        if draw(st.integers(0, 3)) == 0:
            around: Any = raw
            for part in key[:-1]:
                around = around.setdefault(part, {} if part != "source" else [{}])
                around = around[0] if isinstance(around, list) else around
            around[key[-1]] = draw(values(field.annotation))
    further = draw(
        st.dictionaries(TEXTS.filter(lambda name: name not in ScratchSettings.model_fields), FURTHER, max_size=3)
    )
    raw.setdefault("model", {}).setdefault("scratch", {}).update(further)
    return validate(raw)[0]  # what is out of range goes back to its default


NAMES = st.text("abc_-1", min_size=1, max_size=3) | TEXTS
BLANKS = st.sampled_from(["", " ", "\t ", "  "])


class _Writer:
    """Text that knows on which line its end is."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Path, int] = {}

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def blank(self, *, lines: bool = False) -> None:
        self.text += self.draw(BLANKS)
        if lines and self.draw(st.integers(0, 3)) == 0:
            self.text += self.draw(st.sampled_from(["\n", " # [no.header] \"'\n", "\n\n", "#\n\t"]))

    def end_line(self) -> None:
        self.blank()
        self.text += self.draw(st.sampled_from(["\n", "# a = 1\n", "\r\n", "\n\n# [b]\n"]))

    def key(self, name: str) -> None:
        forms = [_quoted(name)]
        if name and all(letter in "abcdefghijklmnopqrstuvwxyz_-1" for letter in name):
            forms.append(name)
        if "'" not in name and all(letter.isprintable() for letter in name):
            forms.append(f"'{name}'")
        self.text += self.draw(st.sampled_from(forms))

    def dotted(self, names: list[str]) -> None:
        for position, name in enumerate(names):
            if position:
                self.text += "."
            self.blank()
            self.key(name)
            self.blank()

    def value(self, path: Path, depth: int) -> None:
        kinds = ["plain", "plain", "string"] + (["array", "inline"] if depth else [])
        kind = self.draw(st.sampled_from(kinds))
        if kind == "plain":
            self.text += self.draw(
                st.sampled_from(["1", "-2.5e3", "true", "1979-05-27 07:32:00", "1979-05-27", "0xff", "inf", "07:32:00"])
            )
        elif kind == "string":
            self.text += self.draw(st.sampled_from(STRINGS))
        elif kind == "array":
            self.array(path, depth - 1)
        else:
            self.inline(path, depth - 1)

    def array(self, path: Path, depth: int) -> None:
        self.text += "["
        length = self.draw(st.integers(0, 3))
        for position in range(length):
            self.blank(lines=True)
            self.lines[(*path, position)] = self.line
            self.value((*path, position), depth)
            self.blank(lines=True)
            if position < length - 1 or self.draw(st.booleans()):
                self.text += ","
        self.blank(lines=True)
        self.text += "]"

    def inline(self, path: Path, depth: int) -> None:
        self.text += "{"
        for position, name in enumerate(self.draw(st.lists(NAMES, max_size=2, unique=True))):
            if position:
                self.text += ","
            self.pair(path, [name], depth)
            self.blank()
        self.text += "}"

    def pair(self, table: Path, names: list[str], depth: int) -> None:
        self.blank()
        for length in range(1, len(names) + 1):
            self.lines.setdefault((*table, *names[:length]), self.line)
        self.dotted(names)
        self.text += "="
        self.blank()
        self.value((*table, *names), depth)

    def body(self, table: Path) -> None:
        for name in self.draw(st.lists(NAMES, max_size=3, unique=True)):
            names = [name, *self.draw(st.lists(NAMES, max_size=2))]
            self.pair(table, names, depth=2)
            self.end_line()


STRINGS = (
    '""',
    '"a # no comment"',
    "'C:\\path'",
    '"\\" = [x]"',
    '"""\n[no.header]\nno = "key"\n"""',
    '"""ends with two quotes"""""',
    '"""a \\""" b"""',
    "'''\nno = 'key'\n'''",
    "'''ends with one quote''''",
    "''",
    '"""a \\\n   b"""',
)


def _quoted(name: str) -> str:
    escaped = "".join(
        letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}" for letter in name
    )
    return f'"{escaped}"'


@st.composite
def toml_texts(draw: st.DrawFn) -> tuple[str, Mapping[Path, int]]:
    """A valid TOML text in any style, and the line of every path that stands in it."""
    writer = _Writer(draw)
    writer.body(())
    tops = draw(st.lists(NAMES, max_size=4, unique=True))
    for top in tops:
        if draw(st.booleans()):
            _list_of_tables(writer, top, draw(st.integers(1, 3)))
        else:
            _table(writer, [top, *draw(st.lists(NAMES, max_size=2))])
    text = writer.text
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # the random names said one thing twice
        return "", {}
    return text, writer.lines


def _table(writer: _Writer, names: list[str]) -> None:
    for length in range(1, len(names)):
        writer.lines.setdefault(tuple(names[:length]), writer.line)
    writer.lines[tuple(names)] = writer.line
    writer.text += "["
    writer.dotted(names)
    writer.text += "]"
    writer.end_line()
    writer.body(tuple(names))


def _list_of_tables(writer: _Writer, name: str, length: int) -> None:
    for position in range(length):
        writer.lines.setdefault((name,), writer.line)
        writer.lines[(name, position)] = writer.line
        writer.text += "[["
        writer.dotted([name])
        writer.text += "]]"
        writer.end_line()
        writer.body((name, position))
        if writer.draw(st.booleans()):
            inner = (name, position, "inner")
            writer.lines[inner] = writer.line
            writer.text += "["
            writer.dotted([name, "inner"])
            writer.text += "]"
            writer.end_line()
            writer.body(inner)
