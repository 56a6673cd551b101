"""A YAML file is the same configuration as its TOML twin, and what is wrong with it is told with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

from runtime.config.load import resolve
from runtime.config.save import as_toml, template
from runtime.config.schema import Config
from runtime.config.yaml_text import YamlError, read_yaml
from runtime.errors import ConfigError


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(path)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_every_key_in_yaml_is_the_same_configuration_as_in_toml(tmp_path: Path) -> None:
    raw = tomllib.loads(template())
    (tmp_path / "full.yaml").write_text(yaml.safe_dump(raw))
    resolved = resolve(tmp_path / "full.yaml")
    assert resolved.config == Config()
    assert as_toml(resolved.config) == as_toml(Config())
    assert resolved.run_name == "full"


def test_values_and_their_lines() -> None:
    text = "# a comment\ntrain:\n  steps: 7\ndata:\n  source:\n  - path: a.jsonl\n  - {path: 'b', weight: 2}\n"
    text += "optim: {lr: 1e-4}\n"
    raw, lines = read_yaml(text)
    assert raw == {
        "train": {"steps": 7},
        "data": {"source": [{"path": "a.jsonl"}, {"path": "b", "weight": 2}]},
        "optim": {"lr": 1e-4},
    }
    assert lines["train",] == 2
    assert lines["train", "steps"] == 3
    assert lines["data", "source", 1, "weight"] == lines["data", "source", 1] == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-3", -3), ("1e-4", 1e-4), (".5", 0.5), ("1.", 1.0), ("true", True), ("False", False),
        ("off", "off"), ("no", "no"), ("'1'", "1"), ('"true"', "true"), ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"), ("-.inf", float("-inf")), ("|-\n  two\n  lines", "two\nlines"), ("[]", []), ("{}", {}),
    ],
)  # fmt: skip
def test_a_value_is_what_the_core_rules_of_yaml_make_of_it(text: str, value: object) -> None:
    found = read_yaml(f"a: {text}\n")[0]["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb: [1\n", 2, "is not YAML (expected ',' or ']', but got '<stream end>')"),
        ("a:\n\tb: 1\n", 2, "is not YAML (found character '\\t' that cannot start any token)"),
        ("a: 1\n\na: 2\n", 3, "a is already there"),
        ("train:\n  steps:\n", 2, "train.steps has no value"),
        ("a: ~\n", 1, "a has no value"),
        ("- a\n", 1, "is no list of `key: value`"),
        ("a: !!python/name:os.system x\n", 1, "a has the tag tag:yaml.org,2002:python/name:os.system"),
        ("? [a]\n: 1\n", 1, "has a key that is no text"),
        ("a: &a\n  b: *a\n", 2, "a.b repeats itself without end"),
        ("a: 1\n--- \nb: 1\n", 2, "is not YAML (but found another document)"),
        ("a: \x01\n", 1, "is not YAML (unacceptable character"),
    ],
)
def test_what_no_configuration_can_be_is_told_with_its_line(text: str, line: int, sentence: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert (caught.value.line, caught.value.fact[: len(sentence)]) == (line, sentence)


def test_a_text_that_grows_without_end_is_refused() -> None:
    layers = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(YamlError, match="repeats itself without end"):
        read_yaml("\n".join(layers))


def test_an_empty_file_is_no_configuration(tmp_path: Path) -> None:
    assert read_yaml("# nothing\n") == ({}, {})
    assert problems(tmp_path, "# nothing\n")[0].startswith("mine.yaml: holds no settings")


def test_wrong_keys_and_values_have_the_line_of_the_yaml_file(tmp_path: Path) -> None:
    text = "optim:\n  learning_rat: 1.0e-3\ntrain:\n  steps: -3\ndata:\n  source:\n    - path: x\n      weight: a\n"
    found = problems(tmp_path, text)
    assert [problem.partition(": ")[0] for problem in found] == [
        "mine.yaml:2 optim.learning_rat", "mine.yaml:4 train.steps", "mine.yaml:8 data.source[0].weight",
    ]  # fmt: skip
    assert problems(tmp_path, "a: [\n")[0].startswith("mine.yaml:1: is not YAML")
