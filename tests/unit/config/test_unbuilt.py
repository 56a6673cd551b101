"""Rows of the table come and go; these tests read the table and stay."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest

from runtime.config.fields import all_keys, leaves
from runtime.config.places import key_of
from runtime.config.schema import Config
from runtime.config.unbuilt import UNBUILT, Unbuilt, unbuilt_features
from runtime.config.validate import validate

SAMPLES: dict[str, Any] = {
    "parallel.split": [2, 2],
    "cluster.interface": "en0",
}


def refused_values(name: str, row: Unbuilt) -> list[Any]:
    """Values of the contract that the row must refuse: the other choices, or a sample by type."""
    if name in SAMPLES:
        return [SAMPLES[name]]
    field = all_keys()[tuple(name.split("."))]
    if get_origin(field.annotation) is Literal:
        return [choice for choice in get_args(field.annotation) if not row.works(choice)]
    return [not field.default if isinstance(field.default, bool) else field.default + 1]


def nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(name.split(".")):
        value = {part: [value] if part == "source" else value}
    return {**value}


@pytest.mark.parametrize("name", UNBUILT)
def test_what_is_not_built_is_refused_by_name_and_says_what_to_do(name: str) -> None:
    values = refused_values(name, UNBUILT[name])
    assert values
    for value in values:
        config, findings = validate(nested(name, value))
        assert not findings
        found = [finding for finding in unbuilt_features(config) if ".".join(key_of(finding.path)).startswith(name)]
        assert len(found) == 1
        assert "is not built yet in this version" in found[0].fact
        assert name.rsplit(".", 1)[-1] in found[0].fact
        assert found[0].fix


def test_the_defaults_are_all_built() -> None:
    assert not list(unbuilt_features(Config()))


def test_every_row_names_a_key_of_the_contract() -> None:
    assert {tuple(name.split(".")) for name in UNBUILT} <= set(all_keys())


def test_without_rows_everything_is_allowed() -> None:
    config = Config.model_validate({"parallel": {"pipeline": 4}})
    assert not list(unbuilt_features(config, rows={}))


def test_a_secret_of_the_environment_is_not_printed() -> None:
    rows = {"cluster.env": Unbuilt("passing on an environment", lambda _: False, "leave it empty")}
    config = Config.model_validate({"cluster": {"env": {"HF_TOKEN": "hf_123"}}})
    (finding,) = unbuilt_features(config, rows)
    assert finding.fact == "passing on an environment (cluster.env.HF_TOKEN) is not built yet in this version"


def test_a_second_source_is_looked_at_as_well() -> None:
    rows = {"data.source.path": Unbuilt("hub data", lambda path: not path.startswith("hf:"), "name a file")}
    config = Config.model_validate({"data": {"source": [{"path": "a"}, {"path": "hf:b/c"}]}})
    (finding,) = unbuilt_features(config, rows)
    assert finding.path == ("data", "source", 1, "path")
    assert finding.path in dict(leaves(config))
