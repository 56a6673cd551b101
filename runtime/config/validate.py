"""Raw values become a `Config`, and everything that is wrong with them becomes a finding: all at once.

A broken value is reported and then left at its default, so that the rules across fields can look at the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from runtime.config.fields import all_keys, all_tables, is_mapping, kind_at, lists_of_tables
from runtime.config.places import Finding, Key, Path, dotted, key_of
from runtime.config.schema import Config
from runtime.config.sentences import expectation, repair, shown
from runtime.config.spelling import likely_keys, likely_tables


def validate(raw: Mapping[str, Any]) -> tuple[Config, list[Finding]]:
    """The configuration that is left when every broken value is at its default, and what was broken."""
    sound = copy.deepcopy(dict(raw))
    findings: dict[Path, Finding] = {}
    while True:
        try:
            return Config.model_validate(sound), list(findings.values())
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = _path_of(detail["loc"], missing=detail["type"] == "missing")
                findings.setdefault(path, _finding(path, _value_at(raw, path), detail))
                _leave_out(sound, path)


def _path_of(location: tuple[int | str, ...], *, missing: bool) -> Path:
    """Cuts pydantic's location to what a person wrote: no names of union members, no position that is not there."""
    path: Path = ()
    for position, part in enumerate(location):
        path = (*path, part)
        field = all_keys().get(key_of(path))
        if field is not None:
            rest = location[position + 1 : position + 2]
            inside = rest and not missing and (is_mapping(field) or isinstance(rest[0], int))
            return (*path, *rest) if inside else path
        if key_of(path) not in all_tables():
            return path
    return path


def _value_at(raw: Any, path: Path) -> Any:
    for part in path:
        raw = raw[part]
    return raw


def _leave_out(raw: Any, path: Path) -> None:
    """Removes the broken value; of a list of values all of it, of a list of tables the content of this one."""
    while isinstance(path[-1], int) and key_of(path) in all_keys():
        path = path[:-1]
    around = raw
    for part in path[:-1]:
        around = around.get(part, {}) if isinstance(around, dict) else around[part]
    if isinstance(path[-1], int):
        around[path[-1]] = {}
    else:
        around.pop(path[-1], None)


def _finding(path: Path, value: Any, detail: Any) -> Finding:
    if detail["type"] == "extra_forbidden":
        return _unknown(path, value)
    if detail["type"] == "value_error":
        return Finding(path, str(detail["ctx"]["error"]))
    if detail["type"] == "string_too_short":
        return Finding(path, "must not be empty")
    if key_of(path) in all_tables():
        return _no_table(path, value)
    kind, metadata = kind_at(path)
    return Finding(path, f"must be {expectation(kind, metadata)}, got {shown(value)}", repair(kind, value, metadata))


def _no_table(path: Path, value: Any) -> Finding:
    if key_of(path) in lists_of_tables():
        name = f"[[{'.'.join(key_of(path))}]]"
        if isinstance(path[-1], int):
            return Finding(path, f"must be a table, got {shown(value)}", f"write one {name} for each")
        fix = f"write {name} in double brackets" if isinstance(value, dict) else ""
        return Finding(path, f"must be a list of tables, got {shown(value)}", fix)
    keys = ", ".join(".".join(key) for key in likely_keys(key_of(path)))
    fix = f"did you mean {keys}?" if keys else f"its keys go under the header [{dotted(path)}]"
    return Finding(path, f"must be a table, got {shown(value)}", fix)


def _unknown(path: Path, value: Any) -> Finding:
    key = key_of(path)
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        tables = likely_tables(key)
        if tables:
            return Finding(path, "unknown table", f"did you mean {_either(tables, '[{}]')}?", tables)
        known = [".".join(table) for table in all_tables() if table[:-1] == key[:-1] and table]
        return Finding(path, "unknown table", f"tables here: {', '.join(known)}" if known else "")
    keys = likely_keys(key)
    if keys:
        return Finding(path, "unknown key", f"did you mean {_either(keys, '{}')}?", keys)
    known = [name[-1] for name in (*all_keys(), *all_tables()) if name and name[:-1] == key[:-1]]
    here = f"[{'.'.join(key[:-1])}] takes" if len(key) > 1 else "outside of a table stand only"
    return Finding(path, "unknown key", f"{here} {', '.join(known)}")


def _either(keys: tuple[Key, ...], form: str) -> str:
    words = [form.format(".".join(key)) for key in keys]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" or {words[-1]}"
