"""What a value must be and what it is, in words; and the likely fix when the two differ."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from runtime.config.spelling import likely_choice

LONGEST_SHOWN = 60
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
_PLURALS = {bool: "true and false", int: "integers", float: "numbers", str: "text"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_TOML_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def expectation(kind: Any, metadata: Iterable[Any] = (), *, several: bool = False) -> str:
    """What a value of this type must be: `an integer >= 1`, `"min" or "max"`, `a list of 2 numbers >= 0 and < 1`."""
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        return expectation(kind, [*metadata, *inner], several=several)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _choices(arguments, several=several)
    if origin in (Union, UnionType):
        return " or ".join(expectation(argument) for argument in arguments)
    if origin is tuple:
        number = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a list of {number}{expectation(arguments[0], several=True)}"
    if origin is Mapping:
        return "a table of " + expectation(arguments[1], several=True)
    name = (_PLURALS if several else _NAMES).get(kind)
    return name + _bounds(metadata) if name else "a number, text, true or false, a list or a table"


def shown(value: Any) -> str:
    """A value as TOML writes it, shortened; a table only by its kind."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        if any(isinstance(element, dict) for element in value):
            return "a list of tables"
        text = "[" + ", ".join(shown(element) for element in value) + "]"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int) and value.bit_length() > 128:
        text = hex(value)  # str() refuses numbers of thousands of digits
    else:
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 4].rstrip() + " ..."


def repair(kind: Any, value: Any, metadata: Iterable[Any] = ()) -> str:
    """The likely fix for a value of the wrong kind, or ""."""
    plain = list(_plain_kinds(kind, metadata))
    kinds = {kind for kind, _ in plain}
    if isinstance(value, str):
        choices = [choice for kind in kinds for choice in get_args(kind) if isinstance(choice, str)]
        meant = likely_choice(value, choices)
        return f'did you mean "{meant}"?' if meant else _repair_text(value.strip(), kinds)
    if bool in kinds and value in (0, 1):
        return f"write {'true' if value else 'false'}"
    if isinstance(value, bool | list | dict):
        return ""
    if isinstance(value, int | float):
        return _in_a_list(value, kinds, (int, float)) or _repair_number(value, plain)
    return ""


def _choices(values: tuple[Any, ...], *, several: bool) -> str:
    words = [shown(value) for value in values]
    if several:
        return "words among " + ", ".join(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" or {words[-1]}"


def _bounds(metadata: Iterable[Any]) -> str:
    """The limits that pydantic's metadata carries, in the order in which they were written."""
    words = []
    for mark in metadata:
        marks = mark.metadata if isinstance(mark, FieldInfo) else [mark]
        for inner in marks:
            words += [f"{sign} {getattr(inner, name)}" for name, sign in _BOUNDS.items() if hasattr(inner, name)]
    return " " + " and ".join(words) if words else ""


def _plain_kinds(kind: Any, metadata: Iterable[Any] = ()) -> Iterator[tuple[Any, str]]:
    """The alternatives of a type, without annotations, each with its limits in words."""
    if get_origin(kind) is Annotated:
        kind, *inner = get_args(kind)
        yield from _plain_kinds(kind, [*metadata, *inner])
    elif get_origin(kind) in (Union, UnionType):
        for argument in get_args(kind):
            yield from _plain_kinds(argument)
    else:
        yield kind, _bounds(metadata)


def _in_a_list(value: Any, kinds: set[Any], elements: tuple[Any, ...]) -> str:
    """The hint for a lone value where a list of any length of such values belongs."""
    for kind in kinds:
        inner = get_args(kind)
        if get_origin(kind) is tuple and inner[-1] is Ellipsis:
            plain = {get_origin(element) or element for element, _ in _plain_kinds(inner[0])}
            if plain & set(elements):
                return f"write [{shown(value)}]"
    return ""


def _repair_text(text: str, kinds: set[Any]) -> str:
    if bool in kinds and text.lower() in _TRUE | _FALSE:
        return f"write {'true' if text.lower() in _TRUE else 'false'}"
    if listed := _in_a_list(text, kinds, (str, Literal)):
        return listed
    try:
        number = float(text)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    integers = int in kinds or any(isinstance(choice, int) for kind in kinds for choice in get_args(kind))
    if integers and number.is_integer():
        return f"write {int(number)} without quotes"
    return f"write {text if _TOML_NUMBER.fullmatch(text) else repr(number)} without quotes" if float in kinds else ""


def _repair_number(value: float, plain: list[tuple[Any, str]]) -> str:
    for kind, limits in plain:
        if kind is str:
            return f'write "{value}"'
        if kind is float and limits.endswith((" <= 1", " < 1")) and 2 <= value <= 100:
            return f"{value:g} % is written {value / 100:g}"
        integers = kind is int or any(isinstance(choice, int) for choice in get_args(kind))
        if isinstance(value, float) and value.is_integer() and integers:
            return f"write {int(value)}"
    return ""
