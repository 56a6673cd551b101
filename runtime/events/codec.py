"""Facts to JSON and back, across versions of this program.

to_json     writes every field and a `type` tag; numbers that JSON lacks become "nan", "inf" and "-inf"
from_json   an unknown type, a missing old field or a field of the wrong type gives an UnknownEvent with all that was
            there; unknown fields of a known type are left out; missing fields with a default get it
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from runtime.events.types import Envelope, Event, Known, UnknownEvent
from runtime.ids import ActorPath

KNOWN: dict[str, type[Known]] = {kind.__name__: kind for kind in typing.get_args(Known)}
"""Every event of this version by its tag."""

_Check = Callable[[Any], Any]
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values, `type` first. An UnknownEvent gives back what it was read from."""
    if isinstance(event, UnknownEvent):
        return {"type": event.type, **event.fields}
    names = _fields_of(type(event))
    return {"type": type(event).__name__, **{name: _plain(getattr(event, name)) for name in names}}


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that `data` states. Raises nothing: what cannot be understood becomes an UnknownEvent."""
    tag = str(data.get("type", ""))
    kind = KNOWN.get(tag)
    if kind is not None:
        try:
            values = {name: check(data[name]) for name, check in _fields_of(kind).items() if name in data}
            return cast(Event, kind(**values))
        except (TypeError, ValueError):
            pass  # a field is missing or of another type: keep it as it is, for whoever can read it
    return UnknownEvent(tag, {name: value for name, value in data.items() if name != "type"})


def envelope_to_json(envelope: Envelope) -> dict[str, Any]:
    """One line of the journal as plain JSON values: seq, t (Unix seconds), path, event."""
    return {
        "seq": envelope.seq,
        "t": round(envelope.wall_seconds, 6),
        "path": envelope.path,
        "event": to_json(envelope.event),
    }


def envelope_from_json(data: Mapping[str, Any]) -> Envelope:
    """The envelope of one line of the journal. Raises ValueError where the line is not an envelope."""
    event = data.get("event")
    if not isinstance(event, dict):
        raise ValueError("no event in the line")  # noqa: TRY004  one exception for everything that is not an envelope
    path = data.get("path", "")
    return Envelope(_integer(data.get("seq")), _number(data.get("t")), ActorPath(str(path)), from_json(event))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if isinstance(value, tuple):
        return [each if type(each) is int else _plain(each) for each in value]
    return value


_cache: dict[type[Known], dict[str, _Check]] = {}


def _fields_of(kind: type[Known]) -> dict[str, _Check]:
    """Name and checker of each field, computed once for each class."""
    if kind not in _cache:
        hints = typing.get_type_hints(kind)
        _cache[kind] = {each.name: _check_for(hints[each.name]) for each in dataclasses.fields(kind)}
    return _cache[kind]


def _check_for(hint: Any) -> _Check:
    """A function that returns the value as `hint` wants it or raises TypeError or ValueError."""
    hint = getattr(hint, "__supertype__", hint)
    simple: dict[Any, _Check] = {int: _integer, float: _number, str: _text, bool: _truth}
    if hint in simple:
        return simple[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return lambda value: _one_of(value, inner)
    if origin is types.UnionType:
        check = _check_for(next(each for each in inner if each is not types.NoneType))
        return lambda value: None if value is None else check(value)
    if origin is tuple and inner[-1] is Ellipsis:
        each_check = _check_for(inner[0])
        return lambda value: tuple([each_check(each) for each in _sequence(value)])
    if origin is tuple:
        checks = [_check_for(each) for each in inner]
        return lambda value: tuple([one(each) for one, each in zip(checks, _sequence(value), strict=True)])
    raise TypeError(f"no JSON form for a field of type {hint}")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"not an integer: {value!r}")
    if abs(value) >= 1 << 63:
        raise ValueError(f"not a 64-bit integer: {value}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return float(value) if isinstance(value, float) else float(_integer(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"neither true nor false: {value!r}")
    return value


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"not one of {allowed}: {value!r}")
    return value


def _sequence(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"not a list: {value!r}")
    return list(value)
