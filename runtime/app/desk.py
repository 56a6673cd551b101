"""The coordinator's desk: what it tells the root, in order, and what must be settled before an order leaves."""

from __future__ import annotations

import trio

from runtime import events as facts
from runtime.actors.child import Parent
from runtime.app.positions import point_to_json, position_to_json
from runtime.app.words import FINISHED, POINT, POSITION
from runtime.cluster.core import Core
from runtime.cluster.signals import Finished
from runtime.events import Event, to_json


class Desk:
    """Facts and positions on their way to the root, in order.

    A fact in the pipe survives this process but not the root. So no checkpoint is ordered before the root has said that
    everything up to it is in the journal: what is on disk is never newer than the ledger.
    """

    def __init__(self, parent: Parent, core: Core) -> None:
        self._parent, self._core = parent, core
        self._unanswered = 0
        self._answered = trio.Event()

    def publish(self, fact: Event) -> None:
        """Queue a fact, and in the same frame what a successor must know from it on."""
        match fact:
            case facts.StepCommitted():
                reports = {POSITION: position_to_json(self._core.at)}
            case facts.RolledBack():  # the state may go on with another cursor than the one in its checkpoint
                reports = {POSITION: position_to_json(self._core.at), POINT: point_to_json(self._core.saves.newest)}
            case facts.CheckpointWritten():
                reports = {POINT: point_to_json(self._core.saves.newest)}
            case _:
                reports = {}
        self._parent.fact(to_json(fact), reports)
        if isinstance(fact, facts.CheckpointStarted):
            self._unanswered += 1

    def ended(self, end: Finished) -> None:
        """Queue the end of the run, before any worker hears of it."""
        self._parent.report(FINISHED, {"outcome": end.outcome, "reason": end.reason, "step": self._core.at.step})

    def journaled(self) -> None:
        """The root has written down one more `CheckpointStarted`, and all before it."""
        self._unanswered = max(0, self._unanswered - 1)
        self._answered.set()
        self._answered = trio.Event()

    async def settled(self) -> None:
        """Return when orders may leave."""
        await self._parent.flush()
        while self._unanswered > 0:
            await self._answered.wait()
