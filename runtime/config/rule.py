"""A rule across fields: a pure function of a configuration whose single values are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from runtime.config.places import Finding, Key
from runtime.config.schema import Config

Findings: TypeAlias = Iterator[Finding]


@dataclass(frozen=True)
class Rule:
    """A rule and the keys that it reads."""

    keys: tuple[Key, ...]
    find: Callable[[Config], Findings]


def rule(find: Callable[[Config], Findings], *keys: str) -> Rule:
    """`find` with the dotted keys that it reads."""
    return Rule(tuple(at(key) for key in keys), find)


def at(key: str) -> Key:
    """`("train", "steps")` of `train.steps`."""
    return tuple(key.split("."))
