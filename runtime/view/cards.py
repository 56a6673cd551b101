"""What a console shows of a run, as frozen cards: only values that JSON has, so that a card can travel as it is.

RunView
 |-- run            one card: where it is, how fast, how it ends
 |-- nodes          the supervision tree, by path
 |-- workers        slots of the run, by rank
 |-- devices        by rank            hosts   by name
 |-- checkpoints    by path            alarms  by key
 `-- marks          vertical lines on charts, by place in the run

A field that is added later gets a default: an older monitor may not send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["info", "warning", "critical"]
CheckpointState: TypeAlias = Literal["writing", "committed", "failed", "rejected"]


@dataclass(frozen=True, slots=True)
class RunCard:
    """The run as a whole."""

    name: str = ""
    status: str = "idle"
    """runtime.events.state.Status."""
    model: str = ""
    run_id: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    command: str = ""
    """What the user types to go on with it."""
    started_seconds: float = 0.0
    sessions: int = 0
    generation: int = 0
    members: tuple[int, ...] = ()
    """Ranks that train."""
    workers: int = 0
    """How many there should be."""
    spares: int = 0
    restarts: int = 0
    workers_lost: int = 0
    stopping: str = ""
    """Who asked for it."""
    pausing: str = ""
    """Who asked for the pause that the run is in, or on its way to."""
    resumed_seconds: float = 0.0
    """Unix time at which somebody last asked to go on; 0: nobody did."""
    outcome: str = ""
    reason: str = ""
    step: int = 0
    first_step: int = 0
    last_step: int = 0
    committed_seconds: float = 0.0
    """Unix time of the last commit; 0 before the first."""
    cursor: int = 0
    samples_per_step: int = 0
    samples: int = 0
    """In one epoch; 0 where it is not known."""
    tokens: int = 0
    loss: float | None = None
    smoothed_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    loss_scale: float = 0.0
    tokens_per_second: float | None = None
    step_seconds: float | None = None
    compute_seconds: float | None = None
    exchange_seconds: float | None = None
    feed_seconds: float | None = None
    """Means of the slowest member's share of a step, over the same steps as step_seconds."""
    remaining_seconds: float | None = None
    """At the time of the last commit."""
    remaining_low_seconds: float | None = None
    remaining_high_seconds: float | None = None
    """Between these with 95 % (see build.remaining)."""
    skipped: int = 0
    aborted: int = 0
    writing_step: int | None = None
    unknown: int = 0
    """Facts that this version could not read."""


@dataclass(frozen=True, slots=True)
class NodeCard:
    """One node of the supervision tree."""

    path: str
    parent: str = ""
    status: str = "starting"
    """runtime.events.state.ActorStatus."""
    strategy: str = ""
    """For a supervisor: one_for_one, one_for_all, rest_for_one."""
    incarnation: int = 0
    since_seconds: float = 0.0
    pid: int = 0
    host: str = ""
    device: str = ""
    restarts: int = 0
    """Unexpected ends in this session."""
    budget: int | None = None
    """For a supervisor: failures of its children that it forgives within `period_seconds`; None: not said."""
    period_seconds: float = 0.0
    failures: tuple[float, ...] = ()
    """For a supervisor: when its children failed, newest last; those within the period burn the budget."""
    beat_seconds: float = 0.0
    """Unix time of its last sign of life; 0 where it gives none."""
    step: int = 0
    phase: str = ""
    """A worker: what it does, by its last beat."""
    reason: str = ""
    """How it ended last."""
    tail: str = ""
    """The last lines that it said then."""


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """One slot of the run."""

    rank: int
    phase: str = ""
    """runtime.events.state.WorkerPhase."""
    incarnation: int = 0
    host: str = ""
    device: str = ""
    pid: int = 0
    state_step: int = 0
    """The step whose parameters it has."""
    losses: int = 0
    shards: int | None = None
    positions_per_second: float = 0.0
    since_seconds: float = 0.0
    beat_seconds: float = 0.0
    beat_step: int = 0
    beat_phase: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceCard:
    """The device of a worker."""

    rank: int
    kind: str = ""
    host: str = ""
    peak_bytes: int = 0
    planned_bytes: int = 0
    measured_step: int = 0
    """The step of that peak; the worker said it itself."""
    process_bytes: int | None = None
    """Resident memory of its process; None: not measured."""
    process_cpu: float | None = None
    """Cores that its process uses; None: not measured."""
    sampled_seconds: float = 0.0
    source: str = ""
    """Who measured the process."""


@dataclass(frozen=True, slots=True)
class HostCard:
    """One machine."""

    name: str
    cores: int = 0
    load: float | None = None
    """Mean number of runnable processes in the last minute."""
    disk_free_bytes: int | None = None
    """On the disk of the run's folder."""
    disk_total_bytes: int | None = None
    quarantined: int | None = None
    """Samples of the run's data that were left out as broken."""
    sampled_seconds: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointCard:
    """One checkpoint."""

    path: str
    step: int = 0
    state: CheckpointState = "committed"
    size_bytes: int = 0
    seconds: float = 0.0
    """How long it took to write."""
    said_seconds: float = 0.0
    """Unix time at which it got into its state; 0 where that is forgotten."""
    parameter_hash: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AlarmCard:
    """Something that a person should know, with its cause and the next move."""

    key: str
    rule: str
    """The kind of alarm, one word: worker_lost, stalled, disk_low, ..."""
    level: Level = "warning"
    subject: str = ""
    """Who or what is affected: a worker, a path, a host."""
    host: str = ""
    cause: str = ""
    fix: str = ""
    command: str = ""
    """What does the fix, or shows more; empty where there is no such command."""
    since_seconds: float = 0.0
    seen: int = 1
    is_mended: bool = False
    acknowledged_by: str = ""


@dataclass(frozen=True, slots=True)
class MarkCard:
    """A vertical line on the charts."""

    step: int
    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything, at one moment."""

    run: RunCard = RunCard()
    nodes: Mapping[str, NodeCard] = field(default_factory=dict)
    workers: Mapping[str, WorkerCard] = field(default_factory=dict)
    devices: Mapping[str, DeviceCard] = field(default_factory=dict)
    hosts: Mapping[str, HostCard] = field(default_factory=dict)
    checkpoints: Mapping[str, CheckpointCard] = field(default_factory=dict)
    alarms: Mapping[str, AlarmCard] = field(default_factory=dict)
    marks: Mapping[str, MarkCard] = field(default_factory=dict)

    @property
    def open_alarms(self) -> tuple[AlarmCard, ...]:
        """What is neither mended nor acknowledged, worst first, then oldest first."""
        rank = {"critical": 0, "warning": 1, "info": 2}
        still = [card for card in self.alarms.values() if not card.is_mended and not card.acknowledged_by]
        return tuple(sorted(still, key=lambda card: (rank[card.level], card.since_seconds, card.key)))

    def children_of(self, path: str) -> tuple[NodeCard, ...]:
        """The nodes right below `path`, in the order in which they were started first; "" gives the roots."""
        return tuple(card for card in self.nodes.values() if card.parent == path)
