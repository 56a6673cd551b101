"""When a worker compiles its step: a pure rule of the configuration and the device."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.app.equipment import COMPILED_ON_CPU_FROM_STEPS, compiles
from runtime.config.load import load_config
from runtime.models.device import DeviceKind, default_kind
from tests.support.tiny import GLOBAL_BATCH, write_tiny_config

LONG, SHORT = COMPILED_ON_CPU_FROM_STEPS, COMPILED_ON_CPU_FROM_STEPS - 1


def compiles_with(folder: Path, kind: DeviceKind, samples: int = 96, **train: Any) -> bool:
    config = load_config(write_tiny_config(folder))
    return compiles(config.model_copy(update={"train": config.train.model_copy(update=train)}), kind, samples)


@pytest.mark.parametrize("kind", [DeviceKind.METAL, DeviceKind.CUDA])
def test_a_gpu_always_compiles_unless_it_is_told_not_to(tmp_path: Path, kind: DeviceKind) -> None:
    assert compiles_with(tmp_path, kind, steps=1)
    assert not compiles_with(tmp_path, kind, steps=LONG, compile=False)


@pytest.mark.skipif(shutil.which("g++") is None, reason="without g++ a CPU never compiles")
def test_a_cpu_compiles_when_the_run_is_long_enough_to_earn_it_back(tmp_path: Path) -> None:
    assert compiles_with(tmp_path, DeviceKind.CPU, steps=LONG)
    assert not compiles_with(tmp_path, DeviceKind.CPU, steps=SHORT)
    assert compiles_with(tmp_path, DeviceKind.CPU, steps=0, epochs=2.0, samples=LONG * GLOBAL_BATCH // 2)
    assert not compiles_with(tmp_path, DeviceKind.CPU, steps=0, epochs=1.0, samples=SHORT * GLOBAL_BATCH)


@pytest.mark.skipif(default_kind() is not DeviceKind.CPU, reason="a GPU needs no compiler")
def test_a_cpu_without_a_compiler_never_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compiles_with(tmp_path, DeviceKind.CPU, steps=LONG)
