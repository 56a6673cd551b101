"""What a worker is made of: model, data and plan, from the configuration alone; and what rank 0 leaves on disk."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.app.equipment import Equipment, describe, prepare
from runtime.config.load import load_config
from runtime.data.order import WindowedOrder
from runtime.errors import RunFolderError
from runtime.ids import Cursor
from tests.support.tiny import SAMPLES, write_tiny_config


def equipped(folder: Path, rank: int = 0, extra: dict[str, dict[str, Any]] | None = None) -> Equipment:
    config = load_config(write_tiny_config(folder / "config", extra=extra))
    return prepare(config, folder / "run", rank)


@pytest.fixture(scope="module")
def equipment(tmp_path_factory: pytest.TempPathFactory) -> Equipment:
    return equipped(tmp_path_factory.mktemp("equipment"))


def test_rank_0_leaves_what_an_export_needs_and_no_half_files(equipment: Equipment, tmp_path: Path) -> None:
    describe(tmp_path, equipment.config.model, equipment.loaded, equipment.datasets)
    left = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= left
    assert not [name for name in left if name.endswith(".tmp")]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    equipped(tmp_path, rank=1)
    assert not (tmp_path / "run" / "model").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(equipment: Equipment, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file where a folder should be")
    with pytest.raises(RunFolderError, match=r"model cannot be written: .*; free space or change its rights"):
        describe(tmp_path, equipment.config.model, equipment.loaded, equipment.datasets)


def test_sizes_follow_from_the_model_and_the_data(equipment: Equipment) -> None:
    assert equipment.samples_in_epoch == SAMPLES
    shapes = equipment.replica.shapes.values()
    assert equipment.elements == sum(math.prod(shape) for shape in shapes)
    assert equipment.shards == 16


def test_there_are_never_more_shards_than_samples_in_a_batch(tmp_path: Path) -> None:
    assert equipped(tmp_path, extra={"train": {"global_batch_size": 4, "micro_batch_size": 2}}).shards == 4


@pytest.mark.parametrize(("batching", "window"), [("bucket", 32), ("pad", 1)])
def test_the_feeder_follows_the_configured_batching(tmp_path: Path, batching: str, window: int) -> None:
    plan = equipped(tmp_path, extra={"data": {"batching": batching, "window": 32}}).feeder()._plan
    assert plan.window == window
    assert len(plan.samples(Cursor(0), plan.global_batch_size)) == plan.global_batch_size


def test_packed_rows_are_as_wide_as_the_longest_sample_may_be(tmp_path: Path) -> None:
    feeder = equipped(tmp_path, extra={"data": {"batching": "pack", "max_length": 300, "pad_multiple": 64}}).feeder()
    assert feeder._shaping.row_tokens == 321
    assert feeder._plan.window == 1


def test_streamed_data_are_the_same_samples_in_the_same_order(tmp_path: Path, equipment: Equipment) -> None:
    streamed = equipped(tmp_path, extra={"data": {"streaming": True, "cache_dir": str(tmp_path / "cache")}})
    assert streamed.samples_in_epoch == SAMPLES
    assert streamed.order == equipment.order
    first, other = (one.datasets.train.sample(SAMPLES - 1) for one in (streamed, equipment))
    assert first[0].tolist() == other[0].tolist()


def test_a_pipe_is_shuffled_in_windows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    holder = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(holder, b'{"text": "one"}\n' * 40)
    data = {"streaming": True, "window": 3, "source": [{"path": str(tmp_path / "pipe")}], "eval": {"path": ""}}
    made = equipped(tmp_path, extra={"data": data, "parallel": {"workers": 1}})
    os.close(holder)
    assert made.order == WindowedOrder(made.config.run.seed, 3 * made.config.train.global_batch_size)


def test_a_run_counted_in_epochs_ends_its_stream_and_one_counted_in_steps_does_not(tmp_path: Path) -> None:
    counted = {"train": {"steps": 0, "epochs": 1.5}}
    assert equipped(tmp_path / "epochs", extra=counted).feeder()._plan.total_samples == SAMPLES * 3 // 2
    assert equipped(tmp_path / "steps").feeder()._plan.total_samples is None


def test_a_run_that_goes_back_to_its_beginning_finds_the_same_model(equipment: Equipment) -> None:
    first = equipment.replica.begin()
    before = {name: value.tolist() for name, value in equipment.replica.trained.items()}
    assert equipment.replica.begin() == first
    assert {name: value.tolist() for name, value in equipment.replica.trained.items()} == before
