"""The learning rate as a function of the committed step, counted from 1. Pure numbers: equal on every device.

Warm-up rises linearly to the full rate at its last step; then `progress` goes from 0 there to 1 at the last step of the
run, where the rate is `min_lr_ratio` of the full one. A step later than the last has the last one's rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["constant", "linear", "cosine", "wsd"]

WSD_DECAY_FRACTION = 0.2
"""wsd (warm-up, stable, decay) holds the full rate until this last part of the steps after warm-up."""


@dataclass(frozen=True)
class Schedule:
    """The rates of one run. Give warm-up in steps or as a ratio of all steps, not both."""

    shape: Shape
    lr: float
    """The highest rate."""
    total_steps: int
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    min_lr_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps and self.warmup_ratio:
            raise ValueError("warm-up is given twice: in steps and as a ratio")

    @property
    def warmup(self) -> int:
        """Steps of warm-up: the last of them has the full rate."""
        return self.warmup_steps or math.ceil(self.warmup_ratio * self.total_steps)

    def rate(self, step: int) -> float:
        """The learning rate of committed step 1, 2, ..."""
        if step < self.warmup:
            return self.lr * step / self.warmup
        rest = self.total_steps - self.warmup
        progress = min(1.0, (step - self.warmup) / rest) if rest > 0 else 0.0
        return self.lr * (self.min_lr_ratio + (1.0 - self.min_lr_ratio) * _decay(self.shape, progress))


def _decay(shape: Shape, progress: float) -> float:
    """From 1 at progress 0 to 0 at progress 1; constant stays at 1."""
    match shape:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "wsd":
            return min(1.0, (1.0 - progress) / WSD_DECAY_FRACTION)
