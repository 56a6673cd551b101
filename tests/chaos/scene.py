"""Who is there: a run's processes and its working ranks, as its journal tells it."""

from __future__ import annotations

from typing import NamedTuple

from runtime.events import (
    ActorExited,
    ActorReady,
    Envelope,
    RolledBack,
    RunFinished,
    RunStarted,
    SpareLost,
    SpareReady,
    StateHealed,
    StepCommitted,
    WorkerJoined,
    WorkerLost,
)
from runtime.ids import Incarnation, Rank, Step
from tests.support.run_process import rank_of

COORDINATOR_PATH = "run/coordinator"


class Committed(NamedTuple):
    """A commit and when the root wrote it down."""

    wall_seconds: float
    event: StepCommitted


class Scene:
    """Fed with every envelope of one root process, in order."""

    def __init__(self) -> None:
        self.workers = 0
        self.step = Step(0)
        self.last_commit: Committed | None = None
        self.taking_part: set[Rank] = set()
        """Ranks whose gradients were in a commit since they, or the coordinator, were last lost."""
        self.pids: dict[str, tuple[int, Incarnation]] = {}
        """Path of each living child process -> its process id and incarnation."""
        self.joined: dict[Rank, Incarnation] = {}
        """The incarnation of each rank that joined last."""
        self.healed: set[Rank] = set()
        """Ranks that fetched the state from their peers since they joined last."""
        self.spares: set[int] = set()
        """Process ids of the spares that are ready."""
        self.over = False

    def take(self, envelope: Envelope) -> None:
        """One more fact."""
        match envelope.event:
            case RunStarted(workers=workers, first_step=first):
                self.workers, self.step = workers, Step(first - 1)
            case ActorReady(path=path, pid=pid, incarnation=incarnation) if pid:
                self.pids[path] = pid, incarnation
                self.spares.discard(pid)
            case SpareReady(pid=pid):
                self.spares.add(pid)
            case SpareLost(pid=pid):
                self.spares.discard(pid)
            case ActorExited(path=path):
                self.pids.pop(path, None)
                gone = rank_of(path)
                self.taking_part -= self.taking_part if path == COORDINATOR_PATH else {gone}
            case WorkerJoined(rank=rank, incarnation=incarnation):
                self.joined[rank] = incarnation
                self.healed.discard(rank)
            case StateHealed(rank=rank):
                self.healed.add(rank)
            case WorkerLost(rank=rank):
                self.taking_part.discard(rank)
            case RolledBack(to_step=step):
                self.step = step
            case StepCommitted(step=step, owners=owners) as committed:
                self.step = step
                self.last_commit = Committed(envelope.wall_seconds, committed)
                self.taking_part.update(owners)
            case RunFinished():
                self.over = True
            case _:
                pass

    @property
    def whole(self) -> bool:
        """Whether every worker lives and takes part, and the coordinator is up."""
        everybody = [None, *map(Rank, range(self.workers))]
        all_live = all(self.process_of(rank) is not None for rank in everybody)
        return len(self.taking_part) == self.workers > 0 and all_live

    def process_of(self, rank: Rank | None) -> tuple[int, Incarnation] | None:
        """Process id and incarnation of a worker, or (None) of the coordinator; None while it is down."""
        if rank is None:
            return self.pids.get(COORDINATOR_PATH)
        return next((found for path, found in self.pids.items() if rank_of(path) == rank), None)
