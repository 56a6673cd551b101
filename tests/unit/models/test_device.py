"""Devices from what the platform and the driver say, without mlx."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.models import blas, device
from runtime.models.device import Device, DeviceKind


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs and mlx's CUDA wheel."""
    gpus = tmp_path / "gpus"
    for bus, name in (("0000:01:00.0", "NVIDIA H200"), ("0000:02:00.0", "NVIDIA L4")):
        (gpus / bus).mkdir(parents=True)
        (gpus / bus / "information").write_text(f"Model: \t\t {name}\nIRQ: 1\n")
    (tmp_path / "version").write_text("NVRM version\n")
    monkeypatch.setattr(device, "_NVIDIA_GPUS", gpus)
    monkeypatch.setattr(blas, "_NVIDIA_DRIVER", tmp_path / "version")
    monkeypatch.setattr(blas, "_CUDA_WHEELS", ("pytest",))  # a wheel that is installed wherever this runs
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return gpus


def test_every_gpu_of_the_driver_is_a_device(driver: Path) -> None:
    assert device.find_devices() == (
        Device(DeviceKind.CUDA, 0, "NVIDIA H200"),
        Device(DeviceKind.CUDA, 1, "NVIDIA L4"),
    )
    assert device.compile_supported()


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("1", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA L4", "NVIDIA H200"]),
        ("0,9,1", ["NVIDIA H200"]),
        ("GPU-5", ["NVIDIA H200"]),
    ],
)
def test_cuda_visible_devices_is_honoured(
    driver: Path, monkeypatch: pytest.MonkeyPatch, setting: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [found.name for found in device.find_devices()] == names


@pytest.mark.parametrize(
    ("given", "own"),
    [
        (None, ["0", "1", "0", "1"]),
        ("1,0", ["1", "0", "1", "0"]),
        ("1", ["1", "1", "1", "1"]),
        ("GPU-5, 1", ["GPU-5", "1", "GPU-5", "1"]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own_and_sees_no_other(
    driver: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, own: list[str]
) -> None:
    for rank, expected in enumerate(own):
        environment = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
        monkeypatch.setattr("os.environ", environment)
        whole = device.find_devices()
        claimed = device.claim_device(rank)
        assert claimed == whole[rank % len(whole)]
        assert environment["CUDA_VISIBLE_DEVICES"] == expected
        assert [found.name for found in device.find_devices()] == [claimed.name]
        assert ("CUDA_DEVICE_ORDER" in environment) == (given is None)


def test_without_a_gpu_every_worker_has_the_processor(cpu_only: None) -> None:
    assert {device.claim_device(rank).kind for rank in range(3)} == {DeviceKind.CPU}
    assert "CUDA_DEVICE_ORDER" not in os.environ


def test_no_visible_gpu_leaves_the_cpu(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.default_kind() is DeviceKind.CPU


def test_a_gpu_without_a_model_line_still_counts(driver: Path) -> None:
    (driver / "0000:01:00.0" / "information").write_text("IRQ: 1\n")
    assert device.find_devices()[0].name == "NVIDIA GPU"


def test_an_apple_machine_has_one_metal_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert device.find_devices() == (Device(DeviceKind.METAL, 0, "Apple GPU"),)


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(blas, "_NVIDIA_DRIVER", tmp_path / "no-driver")


@pytest.mark.usefixtures("cpu_only")
def test_a_machine_without_a_gpu_is_one_cpu_device_with_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n")
    monkeypatch.setattr(device, "_CPU_INFO", info)
    assert device.find_devices() == (Device(DeviceKind.CPU, 0, "Some CPU @ 2 GHz"),)
    info.write_text("processor : 0\n")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert device.find_devices()[0].name == "aarch64"
    info.unlink()
    assert device.find_devices()[0].name == "aarch64"


@pytest.mark.usefixtures("cpu_only")
def test_without_a_compiler_mx_compile_is_switched_off_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlx.core as mx

    monkeypatch.setattr("shutil.which", lambda _name: None)
    switched: list[str] = []
    monkeypatch.setattr(mx, "disable_compile", lambda: switched.append("off"))
    assert "install g++" in device.disable_compile_if_unsupported()
    assert switched == ["off"]


@pytest.mark.usefixtures("cpu_only")
def test_with_a_compiler_nothing_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert device.disable_compile_if_unsupported() == ""
