"""The coordinator's book of checkpoints: what is on disk, what is being written and by whom, what is still wanted.

A checkpoint is written by several workers, each its share, and sealed by the first of them once all shares are there.
How many of the writers have a share at all (a small state is not cut) only they know: the first report says it. A
writer that is lost before its share was on disk takes the attempt with it; the next boundary orders another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runtime.cluster.messages import CheckpointDone, RestorePoint, Save, Seal, ShardWritten
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Position
from runtime.events import CheckpointFailed, CheckpointRejected, CheckpointWritten
from runtime.ids import Cursor, Generation, Rank, Step

REMEMBERED = 8
"""Attempts, and hashes of states, that are remembered: a few more than checkpoints that can be on their way."""


@dataclass
class Attempt:
    """A checkpoint that is being written."""

    step: Step
    save: Save
    generation: Generation = Generation(0)
    shards: int = 0
    """How many of the writers have a share; 0: none of them has told yet."""
    files: dict[Rank, str] = field(default_factory=dict)
    """What each writer said of the files of its share, which is on disk."""
    gone: set[Rank] = field(default_factory=set)

    @property
    def sealer(self) -> Rank:
        """The writer that makes it count."""
        return self.save.writers[0]

    @property
    def sharers(self) -> tuple[Rank, ...]:
        """Those who certainly have a share."""
        return self.save.writers[: max(1, self.shards)]

    @property
    def is_hopeless(self) -> bool:
        """Whether a share will never come, or nobody is left to seal."""
        return self.sealer in self.gone or any(rank in self.gone and rank not in self.files for rank in self.sharers)

    @property
    def is_whole(self) -> bool:
        """Whether every share is on disk."""
        return self.shards > 0 and all(rank in self.files for rank in self.sharers)


@dataclass
class Saves:
    """Newest restore point first; at most one checkpoint is being written at a time."""

    points: list[RestorePoint]
    attempt: Attempt | None = None
    wanted: bool = False
    since: float = 0.0
    """When the newest checkpoint was ordered."""
    _begun: int = 0
    _ordered: dict[str, RestorePoint] = field(default_factory=dict)
    """By attempt, what was ordered and not reported yet, also by writers that were lost: some finish all the same."""
    _void: set[str] = field(default_factory=set)
    """Attempts at states that were rolled back, or that a drifted worker had a share in."""
    _shared: dict[str, tuple[Step, tuple[Rank, ...]]] = field(default_factory=dict)
    """The newest attempts: of which state, and by whom."""
    _hashes: dict[Step, str] = field(default_factory=dict)
    """Parameter hashes of states that most replicas have; of the newest few."""

    @property
    def newest(self) -> RestorePoint:
        """Where everybody restarts from when no living worker holds a state."""
        return self.points[0]

    @property
    def writing(self) -> Step | None:
        """The step whose state is being written."""
        return None if self.attempt is None else self.attempt.step

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
        return self.wanted and self.attempt is None

    def begin(self, at: Position, generation: Generation, writers: Sequence[Rank], now: float) -> Save:
        """The order to save `at`, for `writers`. A successor's generations are newer: no two attempts share a name."""
        self._begun += 1
        save = Save(f"{generation}-{self._begun}", tuple(writers))
        self.attempt, self.wanted, self.since = Attempt(at.step, save, generation), False, now
        self._shared[save.attempt] = at.step, save.writers
        for old in list(self._shared)[:-REMEMBERED]:
            del self._shared[old]
        self._ordered[save.attempt] = RestorePoint(at.step, at.cursor, "", dict(at.counters))
        return save

    def vouch(self, step: Step, parameter_hash: str) -> None:
        """This is what the state after `step` is: a checkpoint of anything else is none."""
        self._hashes[step] = parameter_hash
        for old in sorted(self._hashes)[:-REMEMBERED]:
            del self._hashes[old]

    def distrust(self, after: Step, writers: Collection[Rank] | None = None) -> None:
        """States newer than `after` in which one of `writers` (None: anybody) has a share are not to be used."""
        newer = {attempt: step for attempt, (step, _) in self._shared.items() if step > after}
        void = {each for each in newer if writers is None or set(writers) & set(self._shared[each][1])}
        self._void |= void
        self._ordered = {attempt: point for attempt, point in self._ordered.items() if attempt not in void}
        steps = {newer[attempt] for attempt in void}
        self.points = [point for point in self.points if point.step not in steps] or self.points[-1:]
        if self.attempt is not None and self.attempt.save.attempt in void:
            self.attempt, self.wanted = None, True

    def lost(self, rank: Rank) -> None:
        """A worker is gone: if its share of what is being written is not on disk, a checkpoint is wanted again."""
        if self.attempt is not None:
            self.attempt.gone.add(rank)
            self._give_up_if_hopeless(self.attempt)

    def begin_anew(self, step: Step, generation: Generation) -> None:
        """The state after `step` is ordered in another generation, and what was ordered before may never have been
        whole on all its writers: an attempt at it that is not on disk is void, and wanted again."""
        attempt = self.attempt
        if attempt is not None and attempt.step == step and attempt.generation != generation and not attempt.is_whole:
            self.attempt, self.wanted = None, True

    def never_whole(self, step: Step, rank: Rank) -> None:
        """The state after `step` was never whole on this worker: its share of an attempt at it will not come."""
        attempt = self.attempt
        if attempt is not None and attempt.step == step and rank in attempt.save.writers and rank not in attempt.files:
            self.attempt, self.wanted = None, True

    def written(self, rank: Rank, shard: ShardWritten) -> Seal | None:
        """A share is on disk; the order to seal, for the attempt's `sealer`, when it was the last one missing.

        Shares of an older attempt are of no use to anybody.
        """
        attempt = self.attempt
        if attempt is None or attempt.save.attempt != shard.attempt or rank in attempt.files:
            return None
        attempt.shards, attempt.files[rank] = shard.shards, shard.files
        if self._give_up_if_hopeless(attempt) or not attempt.is_whole:
            return None
        return Seal(attempt.step, shard.attempt, tuple(attempt.files[writer] for writer in attempt.sharers))

    def _give_up_if_hopeless(self, attempt: Attempt) -> bool:
        if attempt.is_hopeless:
            self.attempt, self.wanted = None, True
        return attempt.is_hopeless

    def done(self, done: CheckpointDone) -> CheckpointFailed | CheckpointRejected | CheckpointWritten | None:
        """A writer's last word on an attempt; returns what the journal says of it.

        The failure of an attempt that was given up already is no news; a success is, though what another coordinator
        ordered is nothing that this one builds on. What was ordered and then rolled back was never saved.
        """
        is_current = self.attempt is not None and self.attempt.save.attempt == done.attempt
        if is_current:
            self.attempt = None
        ordered = self._ordered.pop(done.attempt, None)
        if done.attempt in self._void or (done.error and not is_current):
            return None
        if done.error:
            return CheckpointFailed(done.step, done.error)
        if self._hashes.get(done.step, done.parameter_hash) != done.parameter_hash:
            self.wanted = self.wanted or is_current
            reason = (
                f"these are not the parameters that the workers had after step {done.step}: one of them had drifted"
            )
            return CheckpointRejected(done.path, reason)
        if ordered is not None:
            self.points.append(replace(ordered, path=done.path))
            self.points.sort(key=lambda point: -point.step)
            del self.points[4:]
        return CheckpointWritten(done.step, done.path, done.size_bytes, done.seconds, done.parameter_hash)

    def move_newest(self, cursor: Cursor, counters: Mapping[str, float]) -> None:
        """The run goes on from the newest state with another cursor: whoever restores it from now on does so too."""
        self.points[0] = replace(self.points[0], cursor=cursor, counters=dict(counters))
        self.wanted = False  # it was wanted of a state that the run left

    def forget_after(self, step: Step) -> None:
        """The run went back to `step`: newer states are no part of it any more, not even when they arrive on disk."""
        self.points = [point for point in self.points if point.step <= step]
        self._void |= {attempt for attempt, point in self._ordered.items() if point.step > step}
        self._ordered = {attempt: point for attempt, point in self._ordered.items() if point.step <= step}
        if self.attempt is not None and self.attempt.step > step:
            self.attempt = None
        self.wanted = False  # whatever was wanted was of a state that is left
