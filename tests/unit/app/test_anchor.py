"""Paths of a configuration are meant from its file; the output folder from where the user stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.app.anchor import anchored
from runtime.config.schema import Config


def config(model: str = "", source: str = "train.jsonl", held_out: str = "") -> Config:
    return Config.model_validate(
        {
            "model": {"path": model},
            "data": {"source": [{"path": source}], "eval": {"path": held_out}},
            "run": {"output_dir": "runs"},
        }
    )


def test_data_lies_beside_the_configuration_and_runs_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = anchored(config(held_out="held-out.jsonl"), Path("../configs"))
    assert found.data.sources[0].path == str(Path("../configs/train.jsonl").absolute())
    assert found.data.evaluation.path == str(Path("../configs/held-out.jsonl").absolute())
    assert found.run.output_dir == str(tmp_path / "here" / "runs")


def test_what_is_absolute_or_of_the_hub_or_empty_stays(tmp_path: Path) -> None:
    given = config(source=str(tmp_path / "train.jsonl"))
    assert anchored(given, Path("/elsewhere")).data.sources[0].path == str(tmp_path / "train.jsonl")
    assert anchored(config(), tmp_path).data.evaluation.path == ""
    assert anchored(config(), tmp_path).model.path == ""


def test_a_data_set_of_the_hub_is_no_path(tmp_path: Path) -> None:
    data = config().data
    hub = data.sources[0].model_copy(update={"path": "hf:org/set"})
    given = config().model_copy(update={"data": data.model_copy(update={"sources": (hub,)})})
    assert anchored(given, tmp_path).data.sources[0].path == "hf:org/set"


def test_a_model_is_a_folder_only_when_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert anchored(config(model="org/model"), tmp_path).model.path == str(tmp_path / "org" / "model")
    assert anchored(config(model="org/other"), tmp_path).model.path == "org/other"


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert anchored(config(source="~/train.jsonl"), Path("/elsewhere")).data.sources[0].path == str(
        tmp_path / "train.jsonl"
    )


def test_a_template_and_a_tokenizer_lie_beside_the_configuration_too(tmp_path: Path) -> None:
    for name in ("chat.jinja", "words", "auto", "bytes"):
        (tmp_path / name).mkdir()
    keys = {"chat_template": "chat.jinja", "scratch": {"tokenizer": "words", "rope_theta": 1e4}}
    model = anchored(Config.model_validate({"model": keys}), tmp_path).model
    assert (model.chat_template, model.scratch.tokenizer) == (str(tmp_path / "chat.jinja"), str(tmp_path / "words"))
    assert model.scratch.model_extra == {"rope_theta": 1e4}
    assert anchored(Config(), tmp_path).model == Config().model
