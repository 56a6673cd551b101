"""What the contract names and this version has not built yet. Building a feature deletes its row here, nothing else.

A key in this table is accepted at the values that work and refused at all others, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.config.fields import all_keys, leaves
from runtime.config.places import Finding, dotted, key_of
from runtime.config.schema import Config
from runtime.config.sentences import shown


@dataclass(frozen=True)
class Unbuilt:
    """One feature that is not there yet."""

    what: str
    """The feature in words: the beginning of the sentence that refuses it."""
    works: Callable[[Any], bool]
    """Whether this version can do what the value asks for."""
    instead: str
    """What to do: `leave it at 1`."""


def _only(what: str, *values: Any) -> Unbuilt:
    words = [shown(value) for value in values]
    instead = f"leave it at {words[0]}" if len(words) == 1 else f"use {', '.join(words[:-1])} or {words[-1]}"
    return Unbuilt(what, lambda value: value in values, instead)


UNBUILT: Mapping[str, Unbuilt] = {
    "sync.backend": _only("this backend", "auto", "grpc"),
    "sync.wire_dtype": _only("sending gradients in 8 bit", "auto", "float32", "bfloat16"),
    "sync.compression": _only("compressing gradients", "none"),
    "sync.every": _only("synchronising every few steps", 1),
    "sync.staleness": _only("updating asynchronously", 0),
    "cluster.interface": _only("choosing a network interface", "auto"),
    "cluster.auth": _only("authentication by certificates", "token"),
}


def unbuilt_features(config: Config, rows: Mapping[str, Unbuilt] = UNBUILT) -> Iterator[Finding]:
    """A finding for each value that asks for something of the table."""
    by_key = {tuple(name.split(".")): row for name, row in rows.items()}
    for path, value in leaves(config):
        key = key_of(path)
        row = next((by_key[key[:n]] for n in range(len(key), 0, -1) if key[:n] in by_key), None)
        if row is not None and not row.works(value):
            asked = dotted(path) if key not in all_keys() else f"{dotted(path)} = {shown(value)}"  # no secret of env
            fact = f"{row.what} ({asked}) is not built yet in this version"
            yield Finding(path, fact, row.instead)
