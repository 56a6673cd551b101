"""The coordinator's book of checkpoints: what is on disk, what is being written and by whom, what is still wanted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from runtime.cluster.messages import CheckpointDone, RestorePoint
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Position
from runtime.events import CheckpointFailed, CheckpointWritten
from runtime.ids import Rank, Step


@dataclass
class Saves:
    """Newest restore point first; at most one checkpoint is being written at a time."""

    points: list[RestorePoint]
    writing: Step | None = None
    writer: Rank | None = None
    wanted: bool = False
    since: float = 0.0
    """When the newest checkpoint was ordered."""
    _ordered: dict[Step, RestorePoint] = field(default_factory=dict)
    """What was ordered and not reported yet, also by writers that were lost: some finish all the same."""

    @property
    def newest(self) -> RestorePoint:
        """Where everybody restarts from when no living worker holds a state."""
        return self.points[0]

    def holds(self, step: Step) -> bool:
        """Whether the state after `step` is on disk."""
        return any(point.step == step and point.path for point in self.points)

    def consider(self, plan: RunPlan, step: Step, now: float) -> None:
        """Want a checkpoint of this boundary if the plan says so."""
        if not self.holds(step) and plan.checkpoint_due(step, now - self.since):
            self.wanted = True

    @property
    def may_begin(self) -> bool:
        """Whether a checkpoint is wanted and no other is being written."""
        return self.wanted and self.writing is None

    def begin(self, at: Position, writer: Rank, now: float) -> Rank:
        """`writer`, which is returned, is told to save `at`."""
        self.writing, self.writer, self.wanted, self.since = at.step, writer, False, now
        self._ordered[at.step] = RestorePoint(at.step, at.cursor, "", dict(at.counters))
        return writer

    def lost(self, rank: Rank) -> None:
        """A worker is gone: if it was writing, a checkpoint is wanted again."""
        if self.writer == rank and self.writing is not None:
            self.writing = self.writer = None
            self.wanted = True

    def done(self, step: Step, path: str) -> None:
        """The checkpoint of `step` is complete at `path` (empty: it failed)."""
        if step == self.writing:
            self.writing = self.writer = None
        ordered = self._ordered.pop(step, None)
        if path and ordered is not None:
            self.points.append(replace(ordered, path=path))
            self.points.sort(key=lambda point: -point.step)
            del self.points[4:]

    def forget_after(self, step: Step) -> None:
        """The run went back to `step`: newer states are no part of it any more."""
        self.points = [point for point in self.points if point.step <= step]
        self._ordered = {ordered: point for ordered, point in self._ordered.items() if ordered <= step}


def outcome_of(done: CheckpointDone) -> CheckpointFailed | CheckpointWritten:
    """What the journal says of a writer's report."""
    if done.error:
        return CheckpointFailed(done.step, done.error)
    return CheckpointWritten(done.step, done.path, done.size_bytes, done.seconds, done.parameter_hash)
