"""The quickstart's data: reproducible, split without overlap, and readable by the data path."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.config.data import DataSettings
from runtime.config.load import load_config
from runtime.data.dataset import load_datasets

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "data"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_quickstart", FOLDER / "make_quickstart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FOLDER / f"quickstart-{name}.jsonl").read_text().splitlines()]


def test_the_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(FOLDER / "make_quickstart.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    for name in ("quickstart-train.jsonl", "quickstart-heldout.jsonl"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_no_held_out_question_is_trained_on() -> None:
    trained_on = {(record["instruction"], record["input"]) for record in records("train")}
    held_out = {(record["instruction"], record["input"]) for record in records("heldout")}
    assert not trained_on & held_out
    assert len(trained_on) == len(records("train"))
    assert len(held_out) == len(records("heldout"))


def test_there_are_about_six_thousand_pairs_of_many_families_in_both_files(generator: ModuleType) -> None:
    assert len(generator.FAMILIES) >= 10
    assert 5500 <= len(records("train")) <= 6500
    instructions = {record["instruction"] for record in records("train")}
    assert instructions == {record["instruction"] for record in records("heldout")}


def test_answers_are_right_where_another_rule_can_tell() -> None:
    for record in [*records("train"), *records("heldout")]:
        instruction, question, answer = record["instruction"], record["input"], record["output"]
        if instruction == "Add.":
            assert sum(map(int, question.split(" + "))) == int(answer)
        elif instruction == "Sort.":
            assert sorted(question.split()) == answer.split()
        elif instruction == "Reverse.":
            assert question[::-1] == answer
        elif instruction.startswith("Count the letter"):
            assert question.count(instruction[-2]) == int(answer)


def test_the_configuration_is_right_and_names_these_files() -> None:
    config = load_config(FOLDER.parent / "quickstart.toml")
    named = (config.data.sources[0].path, config.data.evaluation.path)
    assert [(FOLDER.parent / path).resolve().parent for path in named] == [FOLDER, FOLDER]


@pytest.mark.long
def test_the_data_path_takes_every_pair(tokenizer: Any) -> None:
    data = DataSettings.model_validate(
        {"source": [{"path": "quickstart-train.jsonl"}], "eval": {"path": "quickstart-heldout.jsonl"}, "max_length": 96}
    )
    report = load_datasets(data, tokenizer, base=FOLDER).report
    assert (report.quarantined, report.dropped, report.shared_prompts) == (0, 0, 0)
    assert report.held_out_samples == len(records("heldout"))
