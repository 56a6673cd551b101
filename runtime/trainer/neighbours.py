"""The other stages of one worker's pipeline, as its device thread sees them: messages of a step, by generation.

What waits for another stage blocks the device thread, and MLX calls cannot be cancelled; so whoever must end it early
calls `abort` from another thread, and the wait raises Aborted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.cluster.grid import Grid
from runtime.collectives.direct import Tag
from runtime.collectives.point_to_point import PointToPoint
from runtime.ids import Generation, Rank, Step
from runtime.models.piece import Bytes
from runtime.pipeline.actions import Schedule
from runtime.trainer.stage_link import StageLink

WITHIN_SECONDS = 300.0
"""How long a message of a living stage may take: it may compile, or train its first and slowest step before it. That a
stage died is known at once, and that it hangs is the supervisor's to find."""
_HELD_OUT, _SHARED = 2, 3
"""Channels beside those of a step's activations and gradients."""


@dataclass(frozen=True)
class Place:
    """Which attempt at which step: messages of no other are listened to."""

    generation: Generation
    step: Step


@dataclass(frozen=True)
class Neighbours:
    """The pipeline of `rank`."""

    port: PointToPoint
    rank: Rank
    grid: Grid
    within_seconds: float = WITHIN_SECONDS

    def set_members(self, generation: Generation, addresses: Mapping[Rank, str]) -> None:
        """See PointToPoint; of the members only those of this pipeline matter."""
        group = self.grid.group_of(self.rank)
        self.port.set_members(generation, {rank: each for rank, each in addresses.items() if rank in group})

    def link(self, place: Place, schedule: Schedule) -> StageLink:
        """For the messages of a step's schedule."""
        group = self.grid.group_of(self.rank)
        return StageLink(
            self.port, place.generation, place.step, group, schedule.positions, schedule.capacity, self.within_seconds
        )

    def hand_on(self, place: Place, stage: int, number: int, data: Bytes) -> None:
        """Send a held-out micro-batch's activation to a stage; `number` is the same at both ends."""
        self._send(stage, Tag(place.generation, place.step, _HELD_OUT, number), data)

    def take(self, place: Place, stage: int, number: int) -> Bytes:
        """The activation that `stage` handed on."""
        return self._receive(stage, Tag(place.generation, place.step, _HELD_OUT, number))

    def swap(self, place: Place, stage: int, data: Bytes) -> Bytes:
        """Give `stage` some bytes, and get those that it gives. Once in a step."""
        tag = Tag(place.generation, place.step, _SHARED, 0)
        self._send(stage, tag, data)
        return self._receive(stage, tag)

    def abort(self, generation: Generation) -> None:
        """End what `generation` waits for; any thread."""
        self.port.abort(generation)

    def _send(self, stage: int, tag: Tag, data: Bytes) -> None:
        to = self.grid.group_of(self.rank)[stage]
        self.port.send(to, tag, data, capacity=2, within_seconds=self.within_seconds)

    def _receive(self, stage: int, tag: Tag) -> Bytes:
        source = self.grid.group_of(self.rank)[stage]
        return self.port.receive(source, tag, within_seconds=self.within_seconds)
