"""A configuration that is being edited: its text as it was loaded, and edits on top. Pure; an edit gives another Form.

An edit is what `--set` takes: a dotted key and a value in TOML's spelling, or None for "leave it out". So what the form
shows, what the plan is made of and what a run would say are one thing: runtime.config judges all three.
"""

from __future__ import annotations

import copy
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from runtime.config.fields import leaves
from runtime.config.load import Judged, Resolved, judge, origins_of
from runtime.config.places import Path as Place
from runtime.config.places import dotted, key_of, parse_dotted
from runtime.config.save import literal
from runtime.config.schema import Config
from runtime.config.text import Document, document_of

Edits: TypeAlias = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Form:
    """What stands in a file, and what was changed since."""

    path: Path
    text: str
    edits: Edits = ()
    past: tuple[Edits, ...] = field(default=(), compare=False)
    """What the edits were before each change: for undo."""
    on_disk: str = ""
    """Digest of the file's text, where `text` was typed since; else it is that of `text`."""

    @cached_property
    def digest(self) -> str:
        """Of the file as it was loaded: one with another digest was changed by somebody else."""
        return self.on_disk or digest_of(self.text)

    @cached_property
    def document(self) -> Document:
        """What the text says without the edits. Raises ConfigError where it is no TOML."""
        return document_of(self.path, self.text)

    @cached_property
    def verdict(self) -> Verdict:
        """What text and edits amount to."""
        return verdict_of(self)

    @property
    def is_modified(self) -> bool:
        """Whether saving would change the file."""
        return bool(self.edits) or self.digest != digest_of(self.text)


class Verdict(NamedTuple):
    """Everything that can be said without looking at other files."""

    config: Config
    """With every broken value at its default."""
    values: Mapping[str, str]
    """Every value in TOML's spelling, broken ones as they were written."""
    origins: Mapping[str, str]
    """`edited`, `line 14` or `default`."""
    wrong: Mapping[str, str]
    """By dotted path: what is wrong there, and the likely fix."""
    loose: tuple[str, ...]
    """What is wrong elsewhere: unknown keys, edits that have no place."""

    @property
    def problems(self) -> int:
        """How many."""
        return len(self.wrong) + len(self.loose)


def opened(path: Path, text: str) -> Form:
    """The form of a text that stands in `path`. Raises ConfigError where it is no TOML."""
    form = Form(path, text)
    _ = form.document
    return form


def edited(form: Form, name: str, value: str | None) -> Form:
    """With another value for one key; None leaves the key out. What the file says anyway is no edit."""
    edits = [(key, old) for key, old in form.edits if key != name]
    if not _is_same(value, _written(form, name)):
        edits.append((name, value))
    if tuple(edits) == form.edits:
        return form
    return replace(form, edits=tuple(edits), past=(*form.past, form.edits))


def reset(form: Form, name: str) -> Form:
    """At its default: left out of the file where the file has it."""
    return edited(form, name, None)


def undone(form: Form) -> Form:
    """Without the newest change."""
    return replace(form, edits=form.past[-1], past=form.past[:-1]) if form.past else form


def retyped(form: Form, text: str) -> Form:
    """After the whole text was edited by hand. Raises ConfigError where it is no TOML."""
    form = Form(form.path, text, on_disk=form.digest)
    _ = form.document
    return form


def saved(form: Form, text: str) -> Form:
    """After its edits went into the file, which holds `text` now."""
    return Form(form.path, text)


def raw_of(form: Form) -> dict[str, Any]:
    """The values of text and edits together, unchecked."""
    document, overrides = _parts(form)
    judge(form.path, document, overrides)
    return document.raw


def overrides_of(form: Form) -> list[str]:
    """The edits as `--set` takes them; a key that was left out is set to its default."""
    defaults = {dotted(path): literal(value) for path, value in leaves(Config())}
    return [f"{name}={value if value is not None else defaults.get(name, '')}" for name, value in form.edits]


def verdict_of(form: Form) -> Verdict:
    """Judge text and edits as a run would."""
    document, overrides = _parts(form)
    judged = judge(form.path, document, overrides)
    values = {dotted(path): literal(value) for path, value in leaves(judged.config)}
    wrong: dict[str, str] = {}
    loose = [str(problem) for problem in judged.override_problems]
    for finding in judged.findings:
        name = dotted(finding.path)
        said = f"{finding.fact}; {finding.fix}" if finding.fix else finding.fact
        if name in values:
            wrong.setdefault(name, said)
            values[name] = _as_written(document.raw, finding.path, values[name])
        else:
            loose.append(f"{name}: {said}")
    return Verdict(judged.config, values, _origins(form, judged), wrong, tuple(loose))


def _parts(form: Form) -> tuple[Document, list[str]]:
    raw = copy.deepcopy(form.document.raw)
    lines = dict(form.document.lines)
    for name, value in form.edits:
        path = parse_dotted(name)
        if value is None and path is not None:
            _leave_out(raw, path)
            lines = {place: number for place, number in lines.items() if place[: len(path)] != path}
    return Document(raw, lines), [f"{name}={value}" for name, value in form.edits if value is not None]


def _leave_out(raw: Any, path: Place) -> None:
    for part in path[:-1]:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(raw, dict):
        raw.pop(path[-1], None)


def _as_written(raw: Any, path: Place, otherwise: str) -> str:
    """A broken value, so that who broke it sees what was typed; a default where nobody wrote one."""
    try:
        for part in path:
            raw = raw[part]
        return literal(raw)
    except (KeyError, IndexError, TypeError):
        return otherwise


def _is_same(one: str | None, other: str | None) -> bool:
    """Whether two spellings are one value: 3e-3 and 0.003 are, 1 and true are not."""
    if one is None or other is None:
        return one is other
    try:
        values = [tomllib.loads(f"v = {text}")["v"] for text in (one, other)]
    except ValueError:
        return one == other
    return type(values[0]) is type(values[1]) and bool(values[0] == values[1])


def _written(form: Form, name: str) -> str | None:
    """The value in the file, in TOML's spelling; None where it has none."""
    path = parse_dotted(name)
    if path is None or path not in form.document.lines:
        return None
    return _as_written(form.document.raw, path, "")


def _origins(form: Form, judged: Judged) -> Mapping[str, str]:
    prefix = f"{form.path}:"
    return {
        name: "edited" if origin == "--set" else origin.replace(prefix, "line ")
        for name, origin in origins_of(judged).items()
    }


def spelled(text: str, *, is_text: bool) -> str:
    """What somebody typed as TOML writes it: quotes are put around words where text is wanted."""
    text = text.strip()
    try:
        tomllib.loads(f"v = {text}")
    except ValueError:
        return literal(text)
    return literal(text) if is_text and not text.startswith(('"', "'")) else text


def plain(value: str) -> str:
    """A text as somebody types it, without TOML's quotes."""
    found = tomllib.loads(f"v = {value}")["v"]
    return found if isinstance(found, str) else value


def run_folder(form: Form) -> Path:
    """Where a run of this configuration writes, from where the user stands."""
    config = form.verdict.config
    return Path(config.run.output_dir).expanduser() / Resolved(form.path, config, {}).run_name


def digest_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def differences(values: Mapping[str, str], others: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """(key, value over there, value here) for each key whose values differ, in the order of the form."""
    names = [*values, *(name for name in others if name not in values)]
    return [(name, others.get(name), values.get(name)) for name in names if others.get(name) != values.get(name)]


def values_of(config: Config) -> dict[str, str]:
    """Every value of a configuration in TOML's spelling."""
    return {dotted(path): literal(value) for path, value in leaves(config)}


def tables_of(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The keys by their table, in order: [("optim", ["optim.lr", ...]), ...]; the root's keys under ""."""
    found: dict[str, list[str]] = {}
    for name in names:
        path = parse_dotted(name) or (name,)
        found.setdefault(dotted(path[:-1]), []).append(name)
    return list(found.items())


def key_in_words(name: str) -> tuple[str, ...]:
    """`data.source[0].path` as the schema knows it: ("data", "source", "path")."""
    return key_of(parse_dotted(name) or (name,))
