"""`mlx-distributed plan`: from a file to the plan, through the child that draws the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.main import main
from runtime.app.plan import planned, write_schedule
from runtime.config.schema import Config
from runtime.errors import ModelError, UsageError
from runtime.pipeline.schedule_csv import load
from runtime.plan.plan import make
from runtime.plan.stages import micro_batches
from tests.unit.plan.llamas import llama

CONFIG = """schema = 1
[model.scratch]
num_hidden_layers = 2
hidden_size = 32
intermediate_size = 64
[[data.source]]
path = "data.jsonl"
[train]
steps = 1
[parallel]
workers = 2
"""


def pipelined() -> Config:
    return Config.model_validate({"parallel": {"pipeline": 2, "workers": 2, "schedule": "zb-h1"}})


@pytest.mark.slow
def test_a_plan_of_a_file_is_exact_and_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CONFIG, encoding="utf-8")
    csv = tmp_path / "schedule.csv"
    assert main(["plan", str(path), "--set", "parallel.pipeline=2", "--schedule-csv", str(csv), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["architecture"] == "llama"
    held = [device["held"] for device in document["devices"]]
    tied_embedding = 260 * 32  # both stages hold it
    assert sum(each["parameters_bytes"] for each in held) == 4 * (document["parameters"] + tied_embedding)
    assert [each["optimizer_bytes"] for each in held] == [2 * each["parameters_bytes"] for each in held]
    assert load(csv.read_text(encoding="utf-8")).stages == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.toml", "schedule.csv"]


def test_the_chosen_schedule_is_written_as_csv(tmp_path: Path) -> None:
    plan = make(pipelined(), llama(), 2)
    write_schedule(plan, tmp_path / "schedule.csv")
    assert plan.pipeline is not None
    assert load((tmp_path / "schedule.csv").read_text(encoding="utf-8")) == plan.pipeline.chosen.schedule
    assert plan.pipeline.chosen.schedule.micro_batches == micro_batches(pipelined(), 1)


def test_without_a_pipeline_or_a_place_there_is_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no schedule"):
        write_schedule(make(Config(), llama(), 2), tmp_path / "schedule.csv")
    with pytest.raises(UsageError, match="cannot be written"):
        write_schedule(make(pipelined(), llama(), 2), tmp_path / "no" / "schedule.csv")


@pytest.mark.slow
def test_a_model_that_is_not_there_is_the_childs_sentence() -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        planned(Config.model_validate({"model": {"path": "./nowhere"}}))
