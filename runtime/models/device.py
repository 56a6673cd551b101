"""Devices of this machine, found without importing mlx, and what compiles on them.

One worker drives one device. The root asks how many there are, and the root never loads mlx, so the answer comes from
the platform, the installed wheels and the driver's own list.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runtime.models.blas import cuda_in_use

_CPU_INFO = Path("/proc/cpuinfo")
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class DeviceKind(StrEnum):
    """What a worker computes on."""

    CPU = "cpu"
    METAL = "metal"
    CUDA = "cuda"


@dataclass(frozen=True)
class Device:
    """One device that a worker may own."""

    kind: DeviceKind
    index: int
    name: str


def find_devices() -> tuple[Device, ...]:
    """Every device that mlx can use here; never empty: without a GPU it is the CPU, once."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return (Device(DeviceKind.METAL, 0, "Apple GPU"),)
    if cuda_in_use() and (names := _visible(_cuda_names(_NVIDIA_GPUS), os.environ.get(_VISIBLE))):
        return tuple(Device(DeviceKind.CUDA, index, name) for index, name in enumerate(names))
    return (Device(DeviceKind.CPU, 0, _cpu_name(_CPU_INFO)),)


def claim_device(rank: int) -> Device:
    """The device of worker `rank`, and all that this process sees from now on: each worker has one, in turns.

    Ranks that follow one another get devices that do, so workers of one host share none unless they are more. Under
    CUDA it must come before mlx is imported: whatever is seen then (measured with mlx 0.32.4) stays.
    """
    devices = find_devices()
    device = devices[rank % len(devices)]
    if device.kind is DeviceKind.CUDA:
        setting = os.environ.get(_VISIBLE)
        if setting is None:
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order in which they are numbered here
        os.environ[_VISIBLE] = str(device.index) if setting is None else _entries(setting)[device.index]
    return device


def default_kind() -> DeviceKind:
    """The kind of device that a worker of this machine computes on."""
    return find_devices()[0].kind


def compile_supported() -> bool:
    """Whether `mx.compile` compiles: on the CPU mlx runs g++ each time it meets a new graph.

    Without g++, mlx 0.32.4 looks for it and runs the graph uncompiled; older versions fail at the first step.
    """
    return default_kind() is not DeviceKind.CPU or shutil.which("g++") is not None


def disable_compile_if_unsupported() -> str:
    """Switch `mx.compile` off where it cannot work. Returns the sentence to show, or "" when it works. Imports mlx."""
    if compile_supported():
        return ""
    import mlx.core as mx

    mx.disable_compile()
    return "mx.compile is off: mlx compiles CPU graphs with g++, which is not installed; install g++ for faster steps"


def _cpu_name(info: Path) -> str:
    """The processor's model where the kernel tells it, else its architecture."""
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _cuda_names(folder: Path) -> tuple[str, ...]:
    """Model names of the GPUs that the driver lists, by bus order."""
    names = []
    for gpu in sorted(folder.glob("*")):
        lines = (gpu / "information").read_text(errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("Model")), "NVIDIA GPU")
        names.append(model)
    return tuple(names)


def _visible(names: tuple[str, ...], setting: str | None) -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES leaves of `names`; like the driver, the list ends at the first bad entry."""
    if setting is None:
        return names
    chosen = []
    for entry in _entries(setting):
        if entry.startswith(("GPU-", "MIG-")):
            chosen.append(names[0] if names else "NVIDIA GPU")
        elif entry.isdigit() and int(entry) < len(names):
            chosen.append(names[int(entry)])
        else:
            break
    return tuple(chosen)


def _entries(setting: str) -> list[str]:
    return [part.strip() for part in setting.split(",") if part.strip()]
