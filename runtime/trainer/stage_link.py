"""The messages of one pipeline's step, carried between ranks: implements the stage's `Link` over `PointToPoint`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.collectives.direct import Tag
from runtime.collectives.point_to_point import PointToPoint
from runtime.ids import Generation, Rank, Step
from runtime.models.piece import Bytes
from runtime.pipeline.actions import Payload, Receive, Send

_CHANNELS = {Payload.ACTIVATION: 0, Payload.GRADIENT: 1}


@dataclass(frozen=True)
class StageLink:
    """One step of one pipeline, seen from one of its stages. Raises Aborted and PeerLost, see PointToPoint."""

    port: PointToPoint
    generation: Generation
    step: Step
    ranks: Sequence[Rank]
    """ranks[stage], the members of this pipeline."""
    positions: int
    """Pieces that the model is cut into: with the boundary it numbers the messages of a channel."""
    capacity: int
    """Messages of a channel that may be under way, `Schedule.capacity`."""
    within_seconds: float
    """How long the other stage may keep this one waiting for a single message."""

    def send(self, send: Send, data: Bytes) -> None:
        """See Link."""
        self.port.send(
            self.ranks[send.peer], self._tag(send), data, capacity=self.capacity, within_seconds=self.within_seconds
        )

    def receive(self, receive: Receive) -> Bytes:
        """See Link."""
        return self.port.receive(self.ranks[receive.peer], self._tag(receive), within_seconds=self.within_seconds)

    def _tag(self, transfer: Send | Receive) -> Tag:
        number = transfer.micro_batch * self.positions + transfer.boundary
        return Tag(self.generation, self.step, _CHANNELS[transfer.payload], number)
