"""Every configuration that we ship is one that we accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config.load import load_config
from tests.support.repository import ROOT, tracked

CONFIGS = [path for path in tracked(".toml") if path.parts[0] == "configs"]


def test_there_is_one_for_each_purpose() -> None:
    purposes = ("quickstart", "sft-lora", "pretrain", "two-macs", "full")
    assert {Path(f"configs/{purpose}.toml") for purpose in purposes} == set(CONFIGS)


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_shipped_configuration_loads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # data paths are relative to where a user stands: the clone
    assert load_config(path).schema_version == 1
