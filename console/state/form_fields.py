"""What may stand in a field of the form: from the schema alone, so that form, checks and documentation agree."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from runtime.config.fields import all_keys, all_tables, kind_at
from runtime.config.places import key_of, parse_dotted
from runtime.config.save import literal
from runtime.config.sentences import expectation

Kind: TypeAlias = Literal["choice", "switch", "text", "value"]
"""choice: one of some words or numbers; switch: true or false; text: typed without quotes; value: typed as TOML."""


class Field(NamedTuple):
    """One key."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    """In TOML's spelling; for a choice and for a switch."""
    expected: str
    """`a number > 0 and <= 10`."""
    help: str


def field_of(name: str) -> Field:
    """The field at a dotted path; also of keys that the schema does not list (they go to the model as they are)."""
    path = parse_dotted(name) or (name,)
    kind, limits = kind_at(path)
    found = all_keys().get(key_of(path))
    choices = _choices(kind)
    about = " ".join((found.description or "").split()) if found is not None else ""
    if kind is None:
        return Field(name, "value", (), "anything", "goes to the architecture as it is")
    return Field(name, _kind(kind, choices), choices, expectation(kind, limits), about)


def about_table(name: str) -> str:
    """The first line of what a table is for."""
    table = all_tables().get(key_of(parse_dotted(name) or ()) if name else ())
    return (table.__doc__ or "").strip().splitlines()[0] if table is not None and table.__doc__ else ""


def _kind(kind: Any, choices: tuple[str, ...]) -> Kind:
    if kind is bool:
        return "switch"
    if choices and not _has_other(kind):
        return "choice"
    return "text" if _is_text(kind) else "value"


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Annotated:
        return _choices(get_args(kind)[0])
    if kind is bool:
        return ("true", "false")
    if get_origin(kind) is Literal:
        return tuple(literal(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return tuple(choice for part in get_args(kind) for choice in _choices(part))
    return ()


def _has_other(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _is_text(kind: Any) -> bool:
    return _is_text(get_args(kind)[0]) if get_origin(kind) is Annotated else kind is str
