"""A walk over the schema (which keys exist) and over a configuration (which values it holds), in the file's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from runtime.config.places import Key, Path, key_of
from runtime.config.schema import Config
from runtime.config.table import Table


def toml_name(name: str, field: FieldInfo) -> str:
    """The key as the file spells it: `async`, where the attribute is `asynchronous`."""
    return field.alias or name


def table_of(field: FieldInfo) -> type[Table] | None:
    """The table that this key holds, or of which it holds a list; None for a plain value."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Table)), None)


def is_mapping(field: FieldInfo) -> bool:
    """Whether this key is a table whose keys the user chooses: cluster.env, data.source.columns."""
    return get_origin(field.annotation) is Mapping


@cache
def all_keys() -> Mapping[Key, FieldInfo]:
    """Every key that holds a value, in the order of the contract, as ("data", "source", "path")."""
    return {key: field for key, field in _walk(Config, ()) if table_of(field) is None}


@cache
def all_tables() -> Mapping[Key, type[Table]]:
    """Every table, the root at ()."""
    found: dict[Key, type[Table]] = {(): Config}
    for key, field in _walk(Config, ()):
        if table := table_of(field):
            found[key] = table
    return found


@cache
def lists_of_tables() -> frozenset[Key]:
    """The keys that hold any number of tables: ("data", "source")."""
    return frozenset(
        key for key, field in _walk(Config, ()) if table_of(field) and get_origin(field.annotation) is tuple
    )


def kind_at(path: Path) -> tuple[Any, Sequence[Any]]:
    """The type of the value at this path, and its limits: of the key, of a list's element, of a mapping's entry.

    (None, ()) where anything may stand: a further key of [model.scratch], or a key that does not exist.
    """
    key = key_of(path)
    field = all_keys().get(key)
    if field is None:
        around = all_keys().get(key[:-1])
        return (get_args(around.annotation)[1], ()) if around and is_mapping(around) else (None, ())
    if isinstance(path[-1], int) and get_origin(field.annotation) is tuple:
        return get_args(field.annotation)[0], ()
    return field.annotation, field.metadata


def _walk(table: type[Table], around: Key) -> Iterator[tuple[Key, FieldInfo]]:
    for name, field in table.model_fields.items():
        key = (*around, toml_name(name, field))
        yield key, field
        if inner := table_of(field):
            yield from _walk(inner, key)


def members(table: Table) -> Iterator[tuple[str, FieldInfo, Any]]:
    """The declared keys of one table: name in the file, field, value."""
    for name, field in type(table).model_fields.items():
        yield toml_name(name, field), field, getattr(table, name)


def leaves(table: Table, around: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value with its path; entries of mappings and further keys of [model.scratch] included."""
    for name, field, value in members(table):
        path = (*around, name)
        if isinstance(value, Table):
            yield from leaves(value, path)
        elif table_of(field):
            for position, element in enumerate(value):
                yield from leaves(element, (*path, position))
        elif is_mapping(field):
            for entry, text in value.items():
                yield (*path, entry), text
        else:
            yield path, value
    for name, value in (table.model_extra or {}).items():
        yield (*around, name), value
