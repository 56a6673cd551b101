"""How many workers a run starts, on this machine and on others."""

from __future__ import annotations

from runtime.config.schema import Config
from runtime.models.device import DeviceKind, find_devices

CPU_WORKERS = 2
"""Workers of a host without accelerators, when parallel.workers is 0."""


def workers_of(config: Config) -> int:
    """All of them: those of this machine, and one on each of cluster.hosts."""
    return workers_here(config) + len(config.cluster.hosts)


def workers_here(config: Config) -> int:
    """parallel.workers; where it is 0, one per device, rounded down to whole pipelines and at least one of these."""
    if config.parallel.workers:
        return config.parallel.workers
    stages, replicas = config.parallel.pipeline, config.parallel.data
    if replicas:
        return replicas * stages
    found = find_devices()
    devices = CPU_WORKERS if all(device.kind is DeviceKind.CPU for device in found) else len(found)
    return max(stages, devices // stages * stages)
