"""`--set table.key=value`: the same keys and the same checks as in the file, written on top of it.

The value is TOML where that is possible; a word without quotes is text, since a shell eats quotes. For a key that
holds only text, everything is text: `--set run.name=2024` names the run "2024".
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from runtime.config.fields import all_tables, kind_at, lists_of_tables
from runtime.config.places import Path, dotted, key_of, parse_dotted
from runtime.errors import Problem


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> tuple[frozenset[Path], list[Problem]]:
    """Writes each override into `raw`, later ones over earlier ones.

    Returns the paths that were written, and a problem for each override that names no place to write to. Whether the
    key exists and takes the value is not decided here.
    """
    written: set[Path] = set()
    problems: list[Problem] = []
    for override in overrides:
        name, equals, text = override.partition("=")
        path = parse_dotted(name)
        if path is None or not equals:
            problems.append(Problem(f"--set {override}", "is not table.key=value", "write --set train.steps=100"))
            continue
        try:
            path = _with_positions(raw, path)
            _write(raw, path, _value(path, text.strip()), written)
        except _NoSuchPlace as error:
            problems.append(Problem(f"--set {name.strip()}", *error.args))
    return frozenset(written), problems


class _NoSuchPlace(Exception):
    """(fact, fix) of an override that points between or behind the elements of a list."""


def _with_positions(raw: dict[str, Any], path: Path) -> Path:
    """Adds the position that was left out where a list of tables has only one: data.source.path."""
    found: Path = ()
    for position, part in enumerate(path):
        found = (*found, part)
        following = path[position + 1 : position + 2]
        if isinstance(part, int) or key_of(found) not in lists_of_tables():
            continue
        if following and isinstance(following[0], str):
            length = len(_list_at(raw, found))
            if length > 1:
                first, *rest = (dotted((*found, n, *path[position + 1 :])) for n in range(length))
                raise _NoSuchPlace(f"there are {length} of [[{dotted(found)}]]", f"say which: {first} or {rest[-1]}")
            found = (*found, 0)
    return found


def _list_at(raw: Any, path: Path) -> list[Any]:
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw if isinstance(raw, list) else []


def _value(path: Path, text: str) -> Any:
    kind, _ = kind_at(path)
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    value = document["value"]
    if len(document) > 1 or (_only_text(kind) and not isinstance(value, str)):
        return text
    return value


def _only_text(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _only_text(get_args(kind)[0])
    return kind is str or (get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)))


def _write(raw: dict[str, Any], path: Path, value: Any, written: set[Path]) -> None:
    """Writes one value; of a table, each of its keys, so that the rest of the table stays what the file says."""
    if isinstance(value, dict) and key_of(path) in all_tables():
        for name, inner in value.items():
            _write(raw, (*path, name), inner, written)
        return
    around: Any = raw
    for part, following in itertools.pairwise(path):
        around = _inside(around, part, path, empty=[] if isinstance(following, int) else {})
    if around is None:
        return  # the file holds something else where a table belongs: that is the problem to report
    _assign(around, path, value)
    written.add(path)


def _inside(around: Any, part: str | int, path: Path, *, empty: Any) -> Any:
    if isinstance(part, str):
        return around.setdefault(part, empty) if isinstance(around, dict) else None
    if not isinstance(around, list):
        return None
    if part == len(around):
        around.append(empty)
    return around[_within(around, part, path)]


def _assign(around: Any, path: Path, value: Any) -> None:
    last = path[-1]
    if isinstance(last, str) and isinstance(around, dict):
        around[last] = value
    elif isinstance(last, int) and isinstance(around, list):
        position = _within(around, last, path, room=1)
        around[position : position + 1] = [value]


def _within(around: list[Any], position: int, path: Path, *, room: int = 0) -> int:
    if position >= len(around) + room:
        raise _NoSuchPlace(f"there are only {len(around)} before it", "positions begin at 0, without gaps")
    return position
