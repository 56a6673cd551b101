from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from runtime.checkpoint import draft as drafts
from runtime.checkpoint.export import export
from runtime.checkpoint.manifest import of_files
from runtime.checkpoint.refusals import BrokenCheckpoint
from runtime.errors import CheckpointError
from runtime.ids import Cursor, Step
from tests.unit.checkpoint.worlds import PROVENANCE, save, snapshot


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with one checkpoint and its model's description."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "tokenizer.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"stale weights of the start")
    save(tmp_path / "run" / "checkpoints", 5)
    return tmp_path / "run"


def exported(run: Path, target: Path) -> int:
    return export(run / "checkpoints" / "step-00000005", run / "model", target)


def test_an_export_is_the_description_and_the_weights(run: Path, tmp_path: Path) -> None:
    size = exported(run, tmp_path / "out" / "model")
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors"}
    weights = mx.load(str(tmp_path / "out" / "model" / "model.safetensors"))
    for name, array in snapshot(5).parameters.items():
        assert np.array_equal(np.array(weights[name]), array)
    assert size == (tmp_path / "out" / "model" / "model.safetensors").stat().st_size
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model"}


def test_an_empty_folder_may_be_the_target_and_a_full_one_may_not(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    exported(run, target)
    before = sorted(target.iterdir())
    with pytest.raises(CheckpointError, match="not empty; name a new folder"):
        exported(run, target)
    assert sorted(target.iterdir()) == before


def test_a_file_in_the_way_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(CheckpointError, match=r"cannot export to .*out"):
        exported(run, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_broken_checkpoint_is_not_exported(run: Path, tmp_path: Path) -> None:
    weights = run / "checkpoints" / "step-00000005" / "parameters.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BrokenCheckpoint):
        exported(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_description_nothing_is_exported(run: Path, tmp_path: Path) -> None:
    (run / "model" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        exported(run, tmp_path / "out")


def test_parameters_of_several_files_get_an_index(run: Path, tmp_path: Path) -> None:
    root = run / "checkpoints"
    parameters = snapshot(6).parameters
    folder = drafts.begin(root, Step(6))
    files = tuple(
        drafts.write_shard(folder, f"parameters-{rank}.safetensors", "parameters", {name: array})
        for rank, (name, array) in enumerate(parameters.items())
    )
    about = {"counters": {}, "metrics": {}, "provenance": PROVENANCE, "created_at": 0.0}
    drafts.finish(folder, of_files(files, step=Step(6), cursor=Cursor(0), **about))
    export(root / "step-00000006", run / "model", tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(parameters)
    for name, file in index["weight_map"].items():
        assert np.array_equal(np.array(mx.load(str(tmp_path / "out" / file))[name]), parameters[name])
