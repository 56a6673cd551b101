"""The tasks of one session of a trainer with its coordinator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVarTuple

import trio

from runtime.cluster.messages import Finish, Refused
from runtime.errors import PeerLost, StaleGeneration, WorkerUnfit

Words = TypeVarTuple("Words")


class SessionTasks:
    """The tasks of one session: they end together, and what ended them is no exception group.

    (A group would also hold the cancellation of a trainer that is stopped at the same moment.)
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.end: Finish | Refused | None = None
        self.failure: StaleGeneration | PeerLost | WorkerUnfit | None = None

    def start(self, task: Callable[[*Words], Awaitable[None]], *words: *Words) -> None:
        """Run a task until it fails or the session ends."""
        self._nursery.start_soon(self._run, partial(task, *words))

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except (StaleGeneration, PeerLost, WorkerUnfit) as failure:
            if not isinstance(self.failure, StaleGeneration | WorkerUnfit):  # they ask for more
                self.failure = failure
            self._nursery.cancel_scope.cancel()

    def over(self, end: Finish | Refused) -> None:
        """The coordinator has ended the session."""
        self.end = end
        self._nursery.cancel_scope.cancel()
