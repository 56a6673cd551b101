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
from typing import TYPE_CHECKING

import mlx.core as mx

from runtime.flow import Batch
from runtime.ids import Step
from runtime.trainer.engine import Local
from runtime.trainer.gradients import Tree
from runtime.trainer.memory import within_memory
from runtime.trainer.update import Numbers

if TYPE_CHECKING:
    from runtime.trainer.replica import Replica

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


def begin_update(replica: Replica, local: Local, gradient: Tree, tokens: int) -> Ahead | None:
    """The update that the verdict will most likely ask for, under way; None where that is not known, or no room."""
    state, known = replica.now(), local.update and tokens and replica.slices is None
    if not known or not has_room(replica.state_bytes(), int(mx.get_active_memory()), replica.memory_bytes):
        return None
    numbers = replica.update.numbers(tokens, local.learning_rate, local.update)

    def begin() -> Ahead:
        parameters, optimizer = replica.update(state.parameters, state.optimizer, gradient, local.square_sum, numbers)
        mx.async_eval(parameters, optimizer)
        return Ahead(state.parameters, numbers, parameters, optimizer)

    ahead = within_memory(begin)
    if ahead is None:
        replica.memory_bytes = 0  # there was less room than it seemed: never again
    return ahead


def begin_step(replica: Replica, local: Local, gradients: Tree, batch: Batch) -> Local | None:
    """The step after `local`'s with its gradients under way; None without room, or if `local`'s update was not begun.

    `gradients` are `local`'s own, which are still there meanwhile.
    """
    ahead: Ahead | None = local.ahead
    if ahead is None or len(batch.micros) > 1 or replica.deterministic or replica.loss_scale is not None:
        return None
    more_bytes = replica.state_bytes() + sum(value.nbytes for value in gradients.values())
    if not has_room(more_bytes, int(mx.get_peak_memory()), replica.memory_bytes):
        return None
    following = Local(Step(local.step + 1))
    with replica.noting_shapes(following.step):
        ((micro, rows),) = replica.numbered(following, batch)
        losses_B, found = replica.added(None, micro, rows, whole=True, parameters=ahead.parameters)
    mx.async_eval(losses_B, found)
    following.begun = Begun(ahead.parameters, batch, losses_B, found)
    return following
