"""What a replica has between two steps, and in the middle of one."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ids import Cursor, Step
from runtime.trainer.engine import Local
from runtime.trainer.gradients import Tree
from runtime.trainer.slices import Gradient


@dataclass
class State:
    """What a step turns into the next."""

    step: Step
    cursor: Cursor
    counters: dict[str, float]
    parameters: Tree
    optimizer: Tree


@dataclass
class Prepared:
    """A summed gradient that waits for its verdict, and this worker's own part of it."""

    gradient: Gradient
    square_sum: float
    """Of `gradient`, or of what this worker speaks for of it."""
    local: Local
