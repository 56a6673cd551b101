"""The learning rate of an update, from the configuration."""

from __future__ import annotations

from collections.abc import Callable

from runtime.config.schema import Config
from runtime.optim.schedule import Schedule


def rate_of(config: Config) -> Callable[[int, int], float]:
    """(update from 1, last step of the run) -> learning rate. Pure; counted in committed updates, never local ones."""

    optim = config.optim

    def rate(update: int, last: int) -> float:
        schedule = Schedule(optim.schedule, optim.lr, last, optim.warmup_steps, optim.warmup_ratio, optim.min_lr_ratio)
        return schedule.rate(update)

    return rate
