"""The schema is the contract: `tests/fixtures/config_contract.toml` is a copy of it, written by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from runtime.config.fields import all_keys, all_tables
from runtime.config.load import load_config
from runtime.config.save import as_toml, template
from runtime.config.schema import Config

ROOT = Path(__file__).parents[3]
CONTRACT = ROOT / "tests" / "fixtures" / "config_contract.toml"


def flat(value: Any, around: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {around: value}
    return {key: inner for name in value for key, inner in flat(value[name], f"{around}.{name}").items()}


def test_every_key_and_default_of_the_contract_is_the_schemas_and_no_other() -> None:
    contract = tomllib.loads(CONTRACT.read_text(encoding="utf-8"))
    assert flat(as_toml(Config())) == flat(contract)


def test_the_contract_has_the_types_of_the_schema() -> None:
    contract = flat(tomllib.loads(CONTRACT.read_text(encoding="utf-8")))
    types = {key: type(value) for key, value in contract.items()}
    assert {key: type(value) for key, value in flat(as_toml(Config())).items()} == types


def test_the_contract_itself_loads_as_the_defaults() -> None:
    assert load_config(CONTRACT) == Config()


def test_the_committed_template_is_what_config_new_writes() -> None:
    assert (ROOT / "configs" / "full.toml").read_text(encoding="utf-8") == template()


def test_the_template_loads_as_the_defaults() -> None:
    assert load_config(ROOT / "configs" / "full.toml") == Config()


def test_the_template_names_every_key_and_every_line_fits_a_screen() -> None:
    lines = template().splitlines()
    for key in all_keys():
        if key not in {("data", "source", "columns"), ("cluster", "env")}:
            assert any(line.startswith(f"{key[-1]} = ") and "#" in line for line in lines), key
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("key", all_keys(), ids=".".join)
def test_every_key_is_explained(key: tuple[str, ...]) -> None:
    field = all_keys()[key]
    assert field.description
    if get_origin(field.annotation) is Literal and key != ("schema",):
        for choice in get_args(field.annotation):
            written = f'"{choice}"' if isinstance(choice, str) else str(choice)
            assert written in field.description, f"{'.'.join(key)} does not explain {written}"


@pytest.mark.parametrize("key", all_tables(), ids=".".join)
def test_every_table_is_explained(key: tuple[str, ...]) -> None:
    assert all_tables()[key].__doc__


def test_a_configuration_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config.train, "steps", 3)  # noqa: B010 - mypy knows that it is frozen
