"""Who is there: a run's processes and its working ranks, as its journal tells it."""

from __future__ import annotations

from typing import NamedTuple

from runtime.events import (
    ActorExited,
    ActorReady,
    Envelope,
    Event,
    RolledBack,
    RunFinished,
    RunStarted,
    SpareLost,
    SpareReady,
    StateHealed,
    StepCommitted,
    WorkerAdded,
    WorkerJoined,
    WorkerLost,
    WorkerRemoved,
    WorkerRetired,
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
        self.gone: set[Rank] = set()
        """Ranks that have left for good, or were asked to."""
        self.over = False

    def take(self, envelope: Envelope) -> None:
        """One more fact."""
        match envelope.event:
            case RunStarted(workers=workers, first_step=first):
                self.workers, self.step = workers, Step(first - 1)
            case RolledBack(to_step=step):
                self.step = step
            case StepCommitted(step=step, owners=owners) as committed:
                self.step = step
                self.last_commit = Committed(envelope.wall_seconds, committed)
                self.taking_part.update(owners)
            case RunFinished():
                self.over = True
            case event:
                self._process(event)
                self._worker(event)

    def _process(self, event: Event) -> None:
        match event:
            case ActorReady(path=path, pid=pid, incarnation=incarnation) if pid:
                self.pids[path] = pid, incarnation
                self.spares.discard(pid)
            case ActorExited(path=path):
                self.pids.pop(path, None)
                gone = rank_of(path)
                self.taking_part -= self.taking_part if path == COORDINATOR_PATH else {gone}
            case SpareReady(pid=pid):
                self.spares.add(pid)
            case SpareLost(pid=pid):
                self.spares.discard(pid)
            case _:
                pass

    def _worker(self, event: Event) -> None:
        match event:
            case WorkerAdded(rank=rank):
                self.gone.discard(rank)
                self.workers = max(self.workers, rank + 1)
            case WorkerRetired(rank=rank) | WorkerRemoved(rank=rank):
                self.gone.add(rank)
                self.taking_part.discard(rank)
            case WorkerJoined(rank=rank, incarnation=incarnation):
                self.joined[rank] = incarnation
                self.healed.discard(rank)
            case StateHealed(rank=rank):
                self.healed.add(rank)
            case WorkerLost(rank=rank):
                self.taking_part.discard(rank)
            case _:
                pass

    @property
    def whole(self) -> bool:
        """Whether every worker lives and takes part, and the coordinator is up."""
        everybody = {Rank(rank) for rank in range(self.workers)} - self.gone
        all_live = all(self.process_of(rank) is not None for rank in (None, *everybody))
        return bool(everybody) and self.taking_part == everybody and all_live

    def process_of(self, rank: Rank | None) -> tuple[int, Incarnation] | None:
        """Process id and incarnation of a worker, or (None) of the coordinator; None while it is down."""
        if rank is None:
            return self.pids.get(COORDINATOR_PATH)
        return next((found for path, found in self.pids.items() if rank_of(path) == rank), None)
