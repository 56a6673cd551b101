"""`evaluate` by itself says what a run's own evaluation says of the same model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from console.cli.main import main
from runtime.app.anchor import anchored
from runtime.app.equipment import prepare
from runtime.config.load import load_config
from runtime.metrics.scoring import scores
from runtime.models.load import write_model_folder
from tests.support.tiny import write_sums, write_tiny_config

GENERATION = {"samples": 3, "max_tokens": 4, "metrics": ["exact_match", "bleu", "rouge1"]}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    write_sums(tmp_path / "held-out.jsonl", 10)
    extra = {"data": {"max_length": 128, "source": [{"path": "train.jsonl"}], "eval": {"path": "held-out.jsonl"}}}
    yield write_tiny_config(tmp_path, extra={**extra, "eval": {"generate": GENERATION}})
    mx.enable_compile()  # judging on a CPU switches it off for the process


def test_a_model_folder_is_judged_as_a_run_would(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    equipment = prepare(anchored(load_config(config), tmp_path), tmp_path, 1)
    replica, held_out = equipment.replica, equipment.held_out
    replica.begin()
    write_model_folder(tmp_path / "model", equipment.loaded, {**replica.frozen, **replica.trained})
    expected, answers = held_out.judge(replica, 0, 1, 0), held_out.answer(replica, 0, 1, 3)
    (tmp_path / "train.jsonl").unlink()  # it is of no interest here

    assert main(["evaluate", str(tmp_path / "model"), str(config), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == expected.tokens
    assert found["metrics"]["loss"] == expected.loss_sum / expected.tokens
    assert {"perplexity", "token_accuracy"} < set(found["metrics"])
    assert found["metrics"].items() >= scores([held_out.count(answers)]).items()
    assert [one["answer"] for one in found["answers"]] == [one.answer for one in answers]

    assert main(["evaluate", str(tmp_path / "model"), str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "loss"
    assert f"{expected.tokens} tokens and 3 answers" in lines[-4]
    assert lines[-1].startswith('"Add ')


def test_what_cannot_be_evaluated_is_one_sentence(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path / "nothing"), str(config)]) == 2
    assert "neither a run's folder" in capsys.readouterr().err
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert main(["evaluate", str(tmp_path / "model"), str(config), "--set", "data.eval.path="]) == 2
    assert "holds nothing out" in capsys.readouterr().err
