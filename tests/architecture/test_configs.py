"""Every configuration that we ship is one that we accept."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from console.state.presets import PACKAGE, QUICKSTART_DATA, shipped_folder
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


def test_an_installed_program_finds_them_in_its_package_and_a_checkout_in_its_configs(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "configs" in wheel["only-include"]
    packaged = tmp_path / wheel["sources"]["configs"]  # where the wheel unpacks them, below site-packages
    assert shipped_folder(tmp_path / PACKAGE.name) == tmp_path / "configs"
    packaged.mkdir(parents=True)
    assert shipped_folder(tmp_path / PACKAGE.name) == packaged
    assert shipped_folder() == ROOT / "configs"
    assert not {f"configs/data/{name}" for name in QUICKSTART_DATA} & set(wheel["exclude"])
