"""From a path and `--set` overrides to a checked configuration, or to the list of everything that is wrong with it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime.config.checks import RULES
from runtime.config.fields import leaves
from runtime.config.overrides import apply_overrides
from runtime.config.places import Finding, Key, Places, dotted, key_of, overlap
from runtime.config.rule import Rule
from runtime.config.schema import Config
from runtime.config.text import Document, read_document
from runtime.config.train import epochs_step_back
from runtime.config.unbuilt import unbuilt_features
from runtime.config.validate import validate
from runtime.errors import ConfigError, Problem
from runtime.ids import is_run_name


@dataclass(frozen=True)
class Resolved:
    """A checked configuration, and where each of its values came from."""

    path: pathlib.Path
    config: Config
    origins: Mapping[str, str]
    """`optim.lr` -> `quickstart.toml:14`, `--set` or `default`. A value that another one decides (train.epochs, left
    out beside train.steps) has the origin of the other."""

    @property
    def run_name(self) -> str:
        """run.name; where that is empty, the file's name without .toml, with a dash for what a folder may not hold."""
        if self.config.run.name:
            return self.config.run.name
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.stem).strip("-._")[:100]
        return stem if is_run_name(stem) else "run"


def load_config(path: pathlib.Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in `path` with the overrides on top. Raises ConfigError with every problem at once."""
    return resolve(path, overrides).config


@dataclass(frozen=True)
class Judged:
    """What a document amounts to, right or wrong."""

    config: Config
    """With every broken value at its default."""
    findings: tuple[Finding, ...]
    """Everything that is wrong, as a reader meets it."""
    places: Places
    override_problems: tuple[Problem, ...] = ()

    @property
    def problems(self) -> list[Problem]:
        """The findings and what is wrong with the overrides themselves, in words."""
        return [*map(self.places.problem, self.findings), *self.override_problems]


def resolve(path: pathlib.Path, overrides: Sequence[str] = ()) -> Resolved:
    """`load_config`, with the origin of each value. Raises ConfigError with every problem at once."""
    judged = judge(path, read_document(path), overrides)
    if judged.problems:
        raise ConfigError(judged.problems)
    return Resolved(path, judged.config, origins_of(judged))


def judge(path: pathlib.Path, document: Document, overrides: Sequence[str] = ()) -> Judged:
    """A document with overrides on top (they are written into its raw values), and everything that is wrong with it."""
    written, override_problems = apply_overrides(document.raw, overrides)
    places = Places(str(path), document.lines, written)
    config, findings = validate(document.raw)
    findings += unbuilt_features(config)
    findings += broken_rules(config, RULES, findings, places)
    return Judged(config, tuple(sorted(findings, key=places.order)), places, tuple(override_problems))


def broken_rules(
    config: Config, rules: Iterable[Rule], findings: Sequence[Finding], places: Places
) -> Iterator[Finding]:
    """What the rules find, placed at a value that somebody wrote.

    A rule about a value that already has a finding waits until that one is settled.
    """
    unsettled: list[Key] = []
    for finding in findings:
        unsettled += [key_of(finding.path), *finding.suspects]
    for rule in rules:
        if any(overlap(key, other) for key in rule.keys for other in unsettled):
            continue
        for finding in rule.find(config):
            candidates = (finding.path, *rule.keys)
            path = next((path for path in candidates if places.written(path)), finding.path)
            yield Finding(path, finding.fact, finding.fix)


def origins_of(judged: Judged) -> Mapping[str, str]:
    """Where each value came from, by its dotted path."""
    config, places = judged.config, judged.places
    origins = {dotted(path): places.origin(path) for path, _ in leaves(config)}
    if not places.written(("train", "epochs")) and epochs_step_back(config.train.steps):
        origins["train.epochs"] = origins["train.steps"]
    return origins
