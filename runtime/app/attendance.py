"""Who still has to come: the workers that were started, or lost, and have not taken part in a step since.

While somebody starts or heals, the cores belong to him: nothing is started ahead of need meanwhile.
"""

from __future__ import annotations

import trio

from runtime.events import ActorExited, ActorStarting, Envelope, StepCommitted
from runtime.ids import Rank, rank_of

PATIENCE_SECONDS = 60.0
"""Without any change for this long, whoever is missing is not waited for: it has no shard, or will never come."""


class Attendance:
    """A sink of the event bus."""

    def __init__(self) -> None:
        self.missing: set[Rank] = set()
        self._trains = False
        self._changed = trio.Event()

    def __call__(self, envelope: Envelope) -> None:
        """Take one fact."""
        before = set(self.missing), self._trains
        match envelope.event:
            case ActorStarting(path=path):
                self.missing |= {rank for rank in (rank_of(path),) if rank is not None}
            case ActorExited(path=path, expected=expected):
                gone = {rank for rank in (rank_of(path),) if rank is not None}
                self.missing = self.missing - gone if expected else self.missing | gone
            case StepCommitted(owners=owners):
                self._trains = True
                self.missing -= set(owners)
            case _:
                pass
        if before != (self.missing, self._trains):
            self._changed.set()
            self._changed = trio.Event()

    async def complete(self) -> None:
        """Return once the run trains with everybody, or trains and nothing has changed for a minute."""
        while self.missing or not self._trains:
            with trio.move_on_after(PATIENCE_SECONDS) as patience:
                await self._changed.wait()
            if patience.cancelled_caught and self._trains:
                return
        await trio.lowlevel.checkpoint()
