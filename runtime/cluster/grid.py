"""Where each worker stands in a grid of data x pipeline. Pure.

    8 workers, 2 stages

    group     0      1      2      3
    stage 0   0      2      4      6
    stage 1   1      3      5      7

A group is one copy of the model, cut into stages; its first rank, the `lead`, stands for it wherever logical shards
have owners. The ranks of one stage are twins: they hold the same parameters, and sum gradients with each other alone.

The coordinator thinks in groups. What it tells a rank is that rank's `view`, in which its twins own the shards of their
groups and nobody else is there: so a worker's part of the protocol is that of a run without a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from runtime.cluster.messages import EvaluateWork, StepWork, Work
from runtime.flow import StepOrder
from runtime.ids import Rank


@dataclass(frozen=True)
class Grid:
    """The grid of a run; with one stage every rank is a group of its own, and every view is the whole."""

    stages: int = 1

    def stage_of(self, rank: Rank) -> int:
        """Which stage of its group's pipeline a rank computes."""
        return rank % self.stages

    def group_of(self, rank: Rank) -> tuple[Rank, ...]:
        """The ranks of its group, by stage."""
        lead = rank - rank % self.stages
        return tuple(Rank(lead + stage) for stage in range(self.stages))

    def is_last(self, rank: Rank) -> bool:
        """Whether it holds the head, and so is the one that knows losses."""
        return self.stage_of(rank) == self.stages - 1

    def twins(self, rank: Rank, ranks: Iterable[Rank]) -> tuple[Rank, ...]:
        """Those of `ranks` that hold what `rank` holds (itself, if it is among them), in their order."""
        return tuple(other for other in ranks if self.stage_of(other) == self.stage_of(rank))

    def leads(self, ranks: Iterable[Rank]) -> tuple[Rank, ...]:
        """The first rank of every group that is whole among `ranks`, ascending."""
        present = set(ranks)
        return tuple(rank for rank in sorted(present) if self.stage_of(rank) == 0 and present >= {*self.group_of(rank)})

    def covered_by(self, ranks: Iterable[Rank]) -> bool:
        """Whether these hold the whole model between them."""
        return len({self.stage_of(rank) for rank in ranks}) == self.stages

    def contributors(self, order: StepOrder) -> tuple[Rank, ...]:
        """Everybody who computes on `order`, whose shards belong to leads; ascending."""
        return tuple(rank for lead in order.contributors for rank in self.group_of(lead))

    def view(self, order: StepOrder, rank: Rank) -> StepOrder:
        """`order` as the twins of `rank` see it."""
        if self.stages == 1:
            return order
        stage = self.stage_of(rank)
        owners = tuple(self.group_of(owner)[stage] for owner in order.owners)
        return replace(order, owners=owners, receivers=self.twins(rank, order.receivers))

    def work(self, work: Work, rank: Rank) -> Work:
        """`work` as `rank` is told it."""
        match work:
            case StepWork(order=order):
                return replace(work, order=self.view(order, rank))
            case EvaluateWork():
                return replace(work, workers=self.twins(rank, work.workers))
            case _:
                return work
