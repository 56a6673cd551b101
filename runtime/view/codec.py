"""The picture as rows, and back: a row is a card under (topic, key), as JSON. What travels is what changed.

An older or newer peer may know other fields: unknown ones are left out, missing ones get their default, and a row of
an unknown topic, or one that cannot be read, is passed over.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from runtime.view.cards import (
    AlarmCard,
    CheckpointCard,
    DeviceCard,
    HostCard,
    MarkCard,
    NodeCard,
    RunCard,
    RunView,
    WorkerCard,
)

Place: TypeAlias = tuple[str, str]
"""(topic, key): where a card belongs."""

TOPICS: Mapping[str, type[Any]] = {
    "run": RunCard,
    "nodes": NodeCard,
    "workers": WorkerCard,
    "devices": DeviceCard,
    "hosts": HostCard,
    "checkpoints": CheckpointCard,
    "alarms": AlarmCard,
    "marks": MarkCard,
}
"""topic -> kind of card; every topic is a field of RunView."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_NUMBERS = (int, float)


def cards_of(view: RunView) -> dict[Place, Any]:
    """Every card of the picture by its place, in the order in which they are drawn."""
    cards: dict[Place, Any] = {("run", ""): view.run}
    for topic in TOPICS:
        if topic != "run":
            cards |= {(topic, key): card for key, card in getattr(view, topic).items()}
    return cards


def view_from(cards: Iterable[tuple[Place, Any]]) -> RunView:
    """The picture made of these cards; later ones of a place win."""
    tables: dict[str, Any] = {topic: {} for topic in TOPICS if topic != "run"}
    run = RunCard()
    for (topic, key), card in cards:
        if topic == "run":
            run = card
        else:
            tables[topic][key] = card
    return RunView(run=run, **tables)


def encode(card: Any) -> bytes:
    """A card as JSON. Fields at their default stay away, and so do numbers that JSON lacks."""
    values = {each.name: getattr(card, each.name) for each in dataclasses.fields(card)}
    defaults = _defaults(type(card))
    told = {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
    finite = {name: value for name, value in told.items() if not isinstance(value, float) or math.isfinite(value)}
    return _ENCODER.encode(finite).encode("utf-8", errors="backslashreplace")


def differing(before: Any, after: Any) -> list[str]:
    """The fields in which two cards of a kind differ."""
    names = [each.name for each in dataclasses.fields(after)]
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def encode_part(card: Any, names: Iterable[str]) -> bytes:
    """Some fields of a card as JSON, also those at their default; a number that JSON lacks is told as its default."""
    defaults = _defaults(type(card))
    values = {name: getattr(card, name) for name in names}
    fit = {
        name: defaults.get(name) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return _ENCODER.encode(fit).encode("utf-8", errors="backslashreplace")


def patched(topic: str, before: Any, data: bytes) -> Any | None:
    """The card `before` with the fields of a part; None where this version cannot read it."""
    kind = TOPICS.get(topic)
    if kind is None or type(before) is not kind:
        return None
    try:
        values = json.loads(data)
        hints = _hints(kind)
        return dataclasses.replace(
            before, **{name: _fitting(values[name], hint) for name, hint in hints.items() if name in values}
        )
    except (TypeError, ValueError):
        return None


def decode(topic: str, data: bytes) -> Any | None:
    """The card of a row; None where this version cannot read it."""
    kind = TOPICS.get(topic)
    if kind is None:
        return None
    try:
        values = json.loads(data)
        hints = _hints(kind)
        return kind(**{name: _fitting(values[name], hint) for name, hint in hints.items() if name in values})
    except (TypeError, ValueError):
        return None


_cached_hints: dict[type[Any], dict[str, Any]] = {}
_cached_defaults: dict[type[Any], dict[str, Any]] = {}


def _hints(kind: type[Any]) -> dict[str, Any]:
    if kind not in _cached_hints:
        _cached_hints[kind] = typing.get_type_hints(kind)
    return _cached_hints[kind]


def _defaults(kind: type[Any]) -> dict[str, Any]:
    if kind not in _cached_defaults:
        fields = [each for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING]
        _cached_defaults[kind] = {each.name: each.default for each in fields}
    return _cached_defaults[kind]


def _fitting(value: Any, hint: Any) -> Any:
    """The value if it is what `hint` says; raises TypeError otherwise."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _fitting(value, inner[0])
    if origin is tuple and isinstance(value, list):
        return tuple(_fitting(each, inner[0]) for each in value)
    if origin is typing.Literal:
        hint = str
    if hint is float and isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise TypeError(f"{value!r} is no {hint}")
