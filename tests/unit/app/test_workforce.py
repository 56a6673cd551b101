"""How many workers a run starts, by its configuration and by the devices of the host."""

from __future__ import annotations

from typing import Any

from runtime.app.workforce import CPU_WORKERS, workers_here, workers_of
from runtime.config.schema import Config
from runtime.models.device import DeviceKind, find_devices


def workers(**parallel: Any) -> int:
    return workers_of(Config.model_validate({"parallel": parallel}))


def test_each_accelerator_gets_a_worker_and_a_plain_host_a_fixed_number() -> None:
    found = find_devices()
    only_cpus = all(device.kind is DeviceKind.CPU for device in found)
    assert workers() == (CPU_WORKERS if only_cpus else len(found))


def test_the_configured_number_is_taken() -> None:
    assert workers(workers=7) == 7
    assert workers(data=2, pipeline=3) == 6


def test_each_of_the_other_machines_has_one() -> None:
    config = Config.model_validate({"parallel": {"workers": 2}, "cluster": {"hosts": ["mini", "studio"]}})
    assert (workers_here(config), workers_of(config)) == (2, 4)


def test_a_pipeline_gets_a_worker_for_each_stage() -> None:
    assert workers(pipeline=64) == 64
    assert workers(pipeline=2) % 2 == 0
