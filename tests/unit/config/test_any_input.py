"""Whatever stands in the file and on the command line: the answer is a configuration or a list of problems."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.config.fields import all_keys, all_tables
from runtime.config.load import load_config
from runtime.config.places import dotted
from runtime.config.save import dumps, template
from runtime.errors import ConfigError
from tests.unit.config.strategies import TEXTS

CALM = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
WORDS = st.sampled_from(sorted({part for key in all_keys() for part in key})) | TEXTS
PLAIN = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from(["adamw", "hf:a/b", "4", "true", "", "lora"])
    | st.just(datetime.date(2026, 1, 2))
)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
TABLES = st.sampled_from([dotted(key) for key in all_tables() if key])
KEYS = st.sampled_from([dotted(key) for key in all_keys()])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "any.toml"


def is_answered(path: Path, *overrides: str) -> bool:
    """Whether the answer is a list of problems with facts and places, or a configuration that saves as what it is."""
    try:
        config = load_config(path, overrides)
    except ConfigError as error:
        return bool(error.problems) and all(problem.fact and problem.place for problem in error.problems)
    path.write_text(dumps(config), encoding="utf-8", newline="\n")
    return load_config(path) == config


@CALM
@given(st.dictionaries(st.sampled_from([key[0] for key in all_tables() if key]) | WORDS, ANYTHING, max_size=4))
def test_any_tree_of_values_is_answered(path: Path, raw: dict[str, Any]) -> None:
    path.write_text(tomli_w.dumps(raw), encoding="utf-8", newline="\n")
    assert is_answered(path)


@CALM
@given(st.lists(st.tuples(KEYS, ANYTHING), min_size=1, max_size=4))
def test_any_value_at_a_real_key_is_answered(path: Path, pairs: list[tuple[str, Any]]) -> None:
    raw: dict[str, Any] = {}
    for key, value in pairs:
        around = raw
        *tables, last = key.split(".")
        for table in tables:
            around = around.setdefault(table, {})
            if not isinstance(around, dict):
                break
        else:
            around[last] = value
    path.write_text(tomli_w.dumps(raw), encoding="utf-8", newline="\n")
    assert is_answered(path)


@CALM
@given(st.integers(0, len(template())), st.integers(0, 3), st.text("[]{}='\"\n,.#\\ab1\x00é", max_size=3))
def test_any_damage_to_a_good_file_is_answered(path: Path, at: int, removed: int, added: str) -> None:
    whole = template()
    path.write_text(whole[:at] + added + whole[at + removed :], encoding="utf-8", newline="\n")
    assert is_answered(path)


@CALM
@given(st.binary(max_size=40))
def test_any_bytes_are_answered(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert is_answered(path)


POSITIONS = st.sampled_from(["", "", "[0]", "[1]", "[9]", ".x", ".path"])
VALUES = st.sampled_from(["1", "x", "[1, 2]", "{path = 'a'}", "'a'", "", "nan", "[[", "1979-05-27", "a\nb = 1"])


@CALM
@given(st.lists(st.builds("{}{}={}".format, TABLES | KEYS | TEXTS, POSITIONS, VALUES), min_size=1, max_size=4))
def test_any_overrides_are_answered(path: Path, overrides: list[str]) -> None:
    path.write_text("schema = 1\n[[data.source]]\npath = 'a'\n", encoding="utf-8")
    assert is_answered(path, *overrides)
