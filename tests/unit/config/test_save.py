from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.config.checks import RULES
from runtime.config.load import load_config
from runtime.config.places import dotted
from runtime.config.save import as_toml, dumps, with_origins
from runtime.config.schema import Config
from runtime.config.unbuilt import unbuilt_features
from tests.unit.config.strategies import configs

CALM = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


@CALM
@given(configs())
def test_what_is_written_reads_back_the_same(config: Config) -> None:
    assert Config.model_validate(tomllib.loads(dumps(config))) == config


@CALM
@given(configs())
def test_a_configuration_that_may_run_loads_back_the_same(tmp_path_factory: Any, config: Config) -> None:
    path: Path = tmp_path_factory.mktemp("saved") / "config.toml"
    config = _mended(config)
    path.write_text(dumps(config), encoding="utf-8", newline="\n")
    assert load_config(path) == config


def _mended(config: Config) -> Config:
    """Sets the tables that some rule or unbuilt feature complains about back to their defaults; and others, one by one,
    where a default is what is complained about (more workers than samples, say)."""
    raw = as_toml(config)
    while True:
        config = Config.model_validate(raw)
        findings = [*unbuilt_features(config), *(finding for rule in RULES for finding in rule.find(config))]
        if not findings:
            return config
        table = str(findings[0].path[0])
        raw.pop(table if table in raw else next(iter(raw)))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_survives(text: str) -> None:
    config = Config.model_validate({"data": {"system": text}})
    assert tomllib.loads(dumps(config))["data"]["system"] == text


def test_the_written_file_keeps_the_order_of_the_contract_and_lists_on_one_line() -> None:
    written = dumps(Config())
    headers = [line for line in written.splitlines() if line.startswith("[")]
    assert headers[:5] == ["[run]", "[model]", "[model.scratch]", "[model.adapter]", "[data]"]
    assert "betas = [0.9, 0.95]" in written.splitlines()
    assert written.startswith("schema = 1\n")


def test_further_keys_of_the_model_are_written_with_the_others() -> None:
    raw = {"model": {"scratch": {"rope_scaling": {"type": "linear", "factor": 2.0}, "num_key_value_heads": 2}}}
    config = Config.model_validate(raw)
    assert 'rope_scaling = {type = "linear", factor = 2.0}' in dumps(config)
    assert Config.model_validate(tomllib.loads(dumps(config))) == config


def test_the_origin_of_a_value_stands_behind_it() -> None:
    written = with_origins(Config(), {"optim.lr": "run.toml:3", "optim.eps": "default"})
    assert "lr = 0.0001                     # run.toml:3" in written
    assert "eps = 1e-08                     # default" in written
    assert "\nseed = 0\n" in written


def test_no_path_of_a_configuration_is_written_twice() -> None:
    from runtime.config.fields import leaves

    names = [dotted(path) for path, _ in leaves(Config())]
    assert len(names) == len(set(names))
