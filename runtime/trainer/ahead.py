"""An update that is begun before its verdict, so that a device does not wait for the coordinator's word.

A worker that is alone has the whole gradient, and its order said what the verdict will say if nothing is out of the
ordinary. So the update is dispatched right behind the gradient. The state before it stays until the verdict is there:
a commit puts the new one in its place, anything else drops it. For a moment there are two states, so this is done only
where they have room.

Then the gradients of the next step can be begun as well, on the parameters that are still being computed: the batch
that lies ready is the one that will be ordered, unless something happens meanwhile. So a device has its next work
before it is done with this one, and neither the way of the vote nor the dispatch of a step is a pause.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from runtime.flow import Batch
from runtime.trainer.gradients import Tree
from runtime.trainer.update import Numbers

FULL = 0.9
"""Of a device's memory: what is left is MLX's own, and the next allocation's."""


@dataclass(frozen=True)
class Ahead:
    """The state after a step, under way, and what it was computed from."""

    before: Tree
    """The parameters; the very same object as that of the state it belongs to."""
    numbers: Numbers
    parameters: Tree
    optimizer: Tree

    def is_after(self, parameters: Tree, numbers: Numbers) -> bool:
        """Whether this is what an update of these parameters with these numbers gives."""
        return self.before is parameters and self.numbers == numbers


@dataclass(frozen=True)
class Begun:
    """Gradients that were begun before their step was ordered, and what they were computed from."""

    parameters: Tree
    """The very same object as that of the state that the step begins with, if all went as expected."""
    batch: Batch
    losses_B: mx.array
    gradients: Tree

    def is_of(self, parameters: Tree, batch: Batch) -> bool:
        """Whether they are those of this batch with these parameters."""
        return self.parameters is parameters and self.batch is batch


def has_room(state_bytes: int, active_bytes: int, memory_bytes: int) -> bool:
    """Whether a second state fits beside all that MLX holds at the moment; in no memory (0) nothing does."""
    return active_bytes + state_bytes <= FULL * memory_bytes
