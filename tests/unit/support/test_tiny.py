"""The tiny configuration of the end-to-end tests is a valid one, and can be changed table by table."""

from __future__ import annotations

from pathlib import Path

from runtime.config.load import load_config
from tests.support.tiny import GLOBAL_BATCH, SAMPLES, write_tiny_config


def test_the_tiny_configuration_loads(tmp_path: Path) -> None:
    config = load_config(write_tiny_config(tmp_path, steps=3))
    assert (config.train.steps, config.train.global_batch_size, config.parallel.workers) == (3, GLOBAL_BATCH, 2)
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == SAMPLES


def test_single_keys_can_be_replaced(tmp_path: Path) -> None:
    config = load_config(write_tiny_config(tmp_path, extra={"run": {"deterministic": True}, "optim": {"lr": 0.5}}))
    assert config.run.deterministic
    assert config.run.seed == 7
    assert config.optim.lr == 0.5
