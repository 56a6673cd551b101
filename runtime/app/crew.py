"""The workers of this host: how many there are, one more, one less. Every refusal is a sentence with the next move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from runtime import events as facts
from runtime.app.attendance import Attendance
from runtime.app.root import Root
from runtime.errors import MlxdError
from runtime.ids import ActorPath, Rank, rank_of
from runtime.supervision import ChildSpec, Supervisor


class Refusal(MlxdError):
    """What was asked for is not possible now; nothing was changed."""


@dataclass
class Crew:
    """Belongs to the root's trio thread. One change at a time; whoever comes second waits."""

    root: Root
    node: Supervisor
    attendance: Attendance
    worker: Callable[[Rank, int], ChildSpec]
    """(rank, workers on this host) -> the child that is added."""
    most: int
    """Logical shards: who is beyond them would have nothing to compute."""
    fewest: int
    """supervision.min_workers."""
    stages: int = 1
    """parallel.pipeline."""

    def __post_init__(self) -> None:
        self._changing = trio.Lock()

    @property
    def ranks(self) -> list[Rank]:
        """Of the workers that are there or come back, ascending; none while the node is not up."""
        view = self.node.view()
        there = [child for child in view.children if child.state != "ended"] if view is not None else []
        return sorted(rank for child in there if (rank := rank_of(child.path)) is not None)

    async def add(self, by: str) -> Rank:
        """Start one more worker and return its rank once its process is up. Raises Refusal, or GaveUp with its output
        when it cannot start; the run goes on without it then."""
        async with self._changing:
            ranks = self._ranks_of_a_living_run()
            if len(ranks) >= self.most:
                raise Refusal(
                    f"there are {len(ranks)} workers for {self.most} logical shards, so one more would have "
                    "nothing to compute; raise parallel.logical_shards in the next run"
                )
            rank = next(rank for rank in map(Rank, range(len(ranks) + 1)) if rank not in ranks)
            await self.node.add(self.worker(rank, len(ranks) + 1))
            self._publish(facts.WorkerAdded(rank, by))
            self.root.briefing.workers = len(ranks) + 1
            return rank

    async def remove(self, by: str, rank: Rank | None = None) -> Rank:
        """End a worker for good (the one with the highest rank, if none is named); returns its rank once it is gone.

        Raises Refusal when there is none, or when those who stay could not go on from the last committed step.
        """
        async with self._changing:
            ranks = self._ranks_of_a_living_run()
            leaves = ranks[-1] if rank is None else rank
            if leaves not in ranks:
                raise Refusal(f"there is no worker {leaves}; there are {', '.join(map(str, ranks))}")
            stay = [other for other in ranks if other != leaves]
            if len(stay) < self.fewest:
                least = f"supervision.min_workers = {self.fewest}"
                raise Refusal(f"{len(stay)} workers would be left, and {least}; stop the run, or add a worker first")
            able = [other for other in stay if other not in self.attendance.missing]
            if len(able) < self.fewest:
                late = ", ".join(str(other) for other in stay if other in self.attendance.missing)
                raise Refusal(
                    f"worker {late} takes no part yet, and the state must not be lost; try again when it does"
                )
            self._publish(facts.WorkerRemoved(leaves, by))
            await self.node.remove(f"worker-{leaves}")
            self.root.briefing.workers = len(stay)
            return leaves

    def _ranks_of_a_living_run(self) -> list[Rank]:
        ranks = self.ranks
        if self.root.outcome:
            raise Refusal("the run is ending")
        if self.stages > 1:
            raise Refusal(
                f"the workers are stages (parallel.pipeline = {self.stages}), and a pipeline has as many as it began "
                "with; stop the run, and resume it with other --workers"
            )
        if not ranks:
            raise Refusal("the workers are not up yet; try again in a moment")
        return ranks

    def _publish(self, fact: facts.Event) -> None:
        self.root.bus.publish(fact, ActorPath("run/node"))
