"""Random facts: every known type, every field, in the ranges that the wire can carry."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from hypothesis import strategies as st

from runtime.events import Envelope, Event, Known, UnknownEvent
from runtime.ids import ActorPath

KINDS = typing.get_args(Known)


def of_hint(hint: Any, small: bool) -> st.SearchStrategy[Any]:
    hint = getattr(hint, "__supertype__", hint)
    if hint is int:
        return st.integers(0, 12) if small else st.integers(-(2**62), 2**62)
    if hint is float:
        return st.floats(0, 10, width=16) | st.just(float("nan")) if small else st.floats()
    if hint is bool:
        return st.booleans()
    if hint is str:
        return st.sampled_from(["", "a", "worker-1", "root/node/worker-0"]) if small else st.text()
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is types.UnionType:
        return st.none() | of_hint(inner[0], small)
    assert origin is tuple
    if inner[-1] is Ellipsis:
        return st.lists(of_hint(inner[0], small), max_size=3).map(tuple)
    return st.tuples(*(of_hint(each, small) for each in inner))


def of_kind(kind: type[Known], small: bool = False) -> st.SearchStrategy[Event]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{each.name: of_hint(hints[each.name], small) for each in dataclasses.fields(kind)})


def events(small: bool = False) -> st.SearchStrategy[Event]:
    return st.sampled_from(KINDS).flatmap(lambda kind: of_kind(kind, small)) | st.just(UnknownEvent("Later", {"x": 1}))


def envelopes(most: int = 60, small: bool = True) -> st.SearchStrategy[list[Envelope]]:
    return st.lists(events(small), max_size=most).map(
        lambda facts: [Envelope(n, 1e9 + n, ActorPath("root"), fact) for n, fact in enumerate(facts, start=1)]
    )
