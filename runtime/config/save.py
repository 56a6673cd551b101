"""A configuration as TOML: the resolved file of a run, the commented template, the listing with origins.

One writer serves all three; they differ only in what stands behind a value. The layout is the contract's: the order
of the tables, lists on one line, sub-tables behind their table's own keys.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tomli_w

from runtime.config.fields import all_keys, all_tables, is_mapping, members, table_of
from runtime.config.places import Path, dotted, key_of
from runtime.config.schema import Config
from runtime.config.table import Table

COMMENT_COLUMN = 32
LINE_WIDTH = 120

Comment = Callable[[Path], str]
"""What stands behind the value, or above the header of the table, at this path; "" for nothing."""


def dumps(config: Config) -> str:
    """The complete configuration as TOML, every key written out; `load_config` of it gives an equal one."""
    return _document(config, lambda _: "")


def with_origins(config: Config, origins: Mapping[str, str]) -> str:
    """`dumps`, with the origin of each value behind it."""
    return _document(config, lambda path: origins.get(dotted(path), ""))


def template() -> str:
    """A commented file with every key at its default; loading it gives `Config()`."""
    return _document(Config(), _documentation)


def as_toml(config: Config) -> dict[str, Any]:
    """The complete configuration as plain values under the file's names, for JSON."""
    return config.model_dump(mode="json", by_alias=True)


def _documentation(path: Path) -> str:
    key = key_of(path)
    if key in all_tables():
        return all_tables()[key].__doc__ or ""
    field = all_keys().get(key)
    return (field.description or "") if field else ""


def _document(config: Config, comment: Comment) -> str:
    return "\n".join(_table(config, (), comment)).lstrip("\n") + "\n"


def _table(table: Table, path: Path, comment: Comment) -> Iterator[str]:
    """The table's own values first, then the tables inside it: TOML allows no other order."""
    fields = list(members(table))
    for name, field, value in fields:
        if table_of(field) is None and not is_mapping(field):
            yield from _pair(name, value, comment((*path, name)))
    for name, value in (table.model_extra or {}).items():
        yield from _pair(name, value, comment((*path, name)))
    for name, field, value in fields:
        inner = (*path, name)
        if isinstance(value, Table):
            yield from _header(inner, "[{}]", comment)
            yield from _table(value, inner, comment)
        elif table_of(field):
            for position, element in enumerate(value):
                yield from _header((*inner, position), "[[{}]]", comment)
                yield from _table(element, (*inner, position), comment)
        elif is_mapping(field):
            yield from _header(inner, "[{}]", comment)
            for entry, text in value.items():
                yield from _pair(entry, text, comment((*inner, entry)))


def _header(path: Path, form: str, comment: Comment) -> Iterator[str]:
    yield ""
    for paragraph in comment(path).strip().splitlines():
        yield f"# {paragraph.strip()}".rstrip()
    yield form.format(dotted(key_of(path)))


def _pair(name: str, value: Any, comment: str) -> Iterator[str]:
    pair = _assignment(name, value)
    comment = " ".join(comment.split())
    if not comment:
        yield pair
        return
    column = max(COMMENT_COLUMN, len(pair) + 2)
    width = max(LINE_WIDTH - column, 40)
    for line in textwrap.wrap("# " + comment, width, subsequent_indent="# ", break_long_words=False):
        yield f"{pair:<{column}}{line}"
        pair = ""


def _assignment(name: str, value: Any) -> str:
    key = tomli_w.dumps({name: 0}).removesuffix(" = 0\n")
    return f"{key} = {literal(value)}"


def literal(value: Any) -> str:
    """The value as TOML writes it, on one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(literal(element) for element in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(_assignment(name, inner) for name, inner in value.items()) + "}"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")
