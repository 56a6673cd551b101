"""`mlx-distributed plan`: reads the configuration, asks a child for the model's blueprint, and plans. No mlx here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from runtime.app.anchor import anchored
from runtime.app.workforce import workers_of
from runtime.config.load import resolve
from runtime.config.schema import Config
from runtime.errors import UsageError
from runtime.models.blueprint import ask
from runtime.pipeline.partition import NoPartition
from runtime.pipeline.schedule_csv import dump
from runtime.plan.plan import Plan, make


def plan_of(path: Path, overrides: Sequence[str], memory_bytes: float = math.inf) -> Plan:
    """The plan of the configuration in `path`, on devices of so much memory.

    Raises ConfigError for the file, ModelError for the model, UsageError when its pipeline cannot be had.
    """
    return planned(anchored(resolve(path, overrides).config, path.parent), memory_bytes)


def planned(config: Config, memory_bytes: float = math.inf) -> Plan:
    """The plan of a configuration. Raises ModelError and UsageError as above."""
    try:
        return make(config, ask(config.model), workers_of(config), memory_bytes=memory_bytes)
    except NoPartition as error:
        raise UsageError(f"parallel.pipeline = {config.parallel.pipeline}: {error}") from error


def write_schedule(plan: Plan, path: Path) -> None:
    """Write the chosen schedule as CSV. Raises UsageError when there is none, or no such file can be written."""
    if plan.pipeline is None:
        raise UsageError("parallel.pipeline is 1: there is no schedule to write; set it to 2 or more")
    try:
        path.write_text(dump(plan.pipeline.chosen.schedule), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
