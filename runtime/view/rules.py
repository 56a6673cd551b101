"""Alarms that no single fact raises: pure functions over the picture, the state behind it, and the time.

Each rule says who is affected, why (with the figures that show it), what to do, and the command that does it or shows
more. A rule is silent where it knows too little; it never guesses.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.events import RunState
from runtime.events.state import StepPoint
from runtime.view.cards import AlarmCard, Level, RunView


@dataclass(frozen=True)
class Thresholds:
    """From where on a person should know."""

    quiet_steps: float = 10.0
    """So many usual steps without a commit are a stall, ..."""
    quiet_seconds: float = 30.0
    """... but never less than this."""
    slow_share: float = 0.75
    """A worker below this share of its peers' median speed is a straggler."""
    slower_step: float = 1.5
    """So many times the usual time of a step is a slow-down."""
    budget_left: int = 1
    """A supervisor that may forgive at most so many failures more is close to giving up."""
    skipped_steps: int = 3
    """Of the last 32."""
    loss_factor: float = 1.5
    """The loss of the last steps against the one before them."""
    disk_bytes: int = 1 << 30
    disk_checkpoints: float = 2.0
    """Room for fewer than so many checkpoints is too little."""
    memory_share: float = 1.1
    """Of what the plan said."""
    quarantined_share: float = 0.01
    """Of the samples of an epoch."""


LIMITS = Thresholds()
_RECENT_STEPS = 32
_NEWEST_STEPS = 8
LONG_PHASES = frozenset({"load", "restore", "evaluate"})
"""What a worker may do for longer than any step takes."""


@dataclass(frozen=True)
class Situation:
    """What a rule looks at."""

    view: RunView
    state: RunState
    now_seconds: float
    folder: str
    """The run's, as a user types it."""

    @property
    def is_training(self) -> bool:
        """Steps should be committed now."""
        return self.view.run.status == "running" and bool(self.view.run.members)


def found_alarms(situation: Situation) -> list[AlarmCard]:
    """What all rules find, in a fixed order."""
    return [alarm for rule in RULES for alarm in rule(situation)]


def stalled(at: Situation) -> Iterator[AlarmCard]:
    """No step was committed for much longer than one takes."""
    run = at.view.run
    if not at.is_training or not run.step_seconds:
        return
    limit = max(LIMITS.quiet_seconds, LIMITS.quiet_steps * run.step_seconds)
    doing = {card.rank: card.beat_phase for card in at.view.workers.values() if card.beat_phase}
    since = max(run.committed_seconds, run.resumed_seconds)
    if at.now_seconds - since > limit and not LONG_PHASES & set(doing.values()):
        where = ", ".join(f"worker {rank} in {phase}" for rank, phase in doing.items())
        yield _alarm(
            "stalled",
            f"step {run.step + 1}",
            f"no commit for more than {limit:.0f} s; a step takes {run.step_seconds:.3g} s" + (where and f" ({where})"),
            "look for a worker that does not get on; its supervisor replaces one that hangs",
            f"mlx-distributed logs {at.folder} --level warning",
            level="critical",
            since=since + limit,
            host=run.host,
        )


def too_few_workers(at: Situation) -> Iterator[AlarmCard]:
    """The run goes on without some of its workers, and nobody is on the way."""
    run = at.view.run
    missing = [card for card in at.view.workers.values() if card.phase == "lost"]
    since = max((card.since_seconds for card in missing), default=math.inf) + LIMITS.quiet_seconds
    on_the_way = [node for node in at.view.nodes.values() if node.status in {"starting", "waiting"}]
    if at.is_training and at.now_seconds > since and not any("/worker-" in node.path for node in on_the_way):
        yield _alarm(
            "fewer_workers",
            f"worker {missing[0].rank}",
            f"{len(run.members)} of {run.workers} workers train, and none is being started",
            "add a worker; it is healed by the others and joins at a step boundary",
            f"mlx-distributed workers {at.folder} add",
            since=since,
            host=run.host,
        )


def straggler(at: Situation) -> Iterator[AlarmCard]:
    """A worker computes much slower than its peers, by the speeds that were measured when shards were divided."""
    speeds = {card.rank: card.positions_per_second for card in at.view.workers.values() if card.positions_per_second}
    if not at.is_training or len(speeds) < 2:
        return
    for rank, speed in speeds.items():
        peers = statistics.median(other for one, other in speeds.items() if one != rank)
        if speed < LIMITS.slow_share * peers:
            card = at.view.workers[str(rank)]
            yield _alarm(
                f"straggler {rank}",
                f"worker {rank}",
                f"computes {speed:.3g} positions a second, {speed / peers:.0%} of its peers' median",
                "it has fewer shards by now; look what else runs on that machine, and at its temperature",
                f"mlx-distributed logs {at.folder} --worker {rank}",
                since=at.now_seconds,
                host=card.host,
            )


def slow_down(at: Situation) -> Iterator[AlarmCard]:
    """Steps take much longer than they did."""
    usual, newest = _split(at)
    if not at.is_training or not usual:
        return
    before = statistics.median(point.seconds for point in usual)
    now = statistics.median(point.seconds for point in newest)
    if now > LIMITS.slower_step * before > 0:
        parts = {name: _mean(newest, name) - _mean(usual, name) for name in ("compute", "exchange", "feed")}
        most = max(parts, key=lambda name: parts[name])
        yield _alarm(
            "slow_down",
            "run",
            f"a step takes {now:.3g} s, {before:.3g} s before; most of it is {most} (+{max(0.0, parts[most]):.3g} s)",
            "look what else runs on the machines, at their temperature, and at the network",
            f"mlx-distributed status {at.folder}",
            since=newest[0].wall_seconds,
            host=at.view.run.host,
        )


def budget(at: Situation) -> Iterator[AlarmCard]:
    """A supervisor has forgiven almost as many failures as it may within its period."""
    for node in at.view.nodes.values():
        if node.budget is None or at.view.run.outcome:
            continue
        recent = [when for when in node.failures if when > at.now_seconds - node.period_seconds]
        left = node.budget - len(recent)
        if recent and left <= LIMITS.budget_left:
            yield _alarm(
                f"budget {node.path}",
                node.path,
                f"{len(recent)} failures within {node.period_seconds:g} s; {max(0, left)} of {node.budget} are left, "
                "then it gives up",
                "find why its children die; the last lines of each are in the log",
                f"mlx-distributed logs {at.folder} --level error",
                level="critical" if left <= 0 else "warning",
                since=recent[-1],
                host=node.host or at.view.run.host,
            )


def disk_low(at: Situation) -> Iterator[AlarmCard]:
    """The disk of the run's folder has no room for the next checkpoints."""
    largest = max((card.size_bytes for card in at.view.checkpoints.values()), default=0)
    need = max(LIMITS.disk_bytes, LIMITS.disk_checkpoints * largest)
    for host in at.view.hosts.values():
        if host.disk_free_bytes is not None and host.disk_free_bytes < need and not at.view.run.outcome:
            yield _alarm(
                f"disk {host.name}",
                f"disk of {at.folder}",
                f"{host.disk_free_bytes / 1e9:.1f} GB are free; a checkpoint takes {largest / 1e9:.1f} GB",
                "free space on that disk, or keep fewer checkpoints; training goes on meanwhile",
                f"mlx-distributed checkpoints prune {at.folder}",
                level="critical" if host.disk_free_bytes < largest else "warning",
                since=at.now_seconds,
                host=host.name,
            )


def skipping(at: Situation) -> Iterator[AlarmCard]:
    """Many of the last steps were skipped: their gradients were not finite."""
    points = at.state.training.recent.newest(_RECENT_STEPS)
    skipped = [point for point in points if not point.applied]
    if len(skipped) >= LIMITS.skipped_steps and not at.view.run.outcome:
        yield _alarm(
            "skipping",
            f"step {skipped[-1].step}",
            f"{len(skipped)} of the last {len(points)} steps were skipped: their gradients were not finite",
            "lower optim.lr, or compute in bfloat16 or float32; the parameters are those before the first of them",
            f"mlx-distributed plot {at.folder}",
            level="critical",
            since=skipped[LIMITS.skipped_steps - 1].wall_seconds,
            host=at.view.run.host,
        )


def loss_explodes(at: Situation) -> Iterator[AlarmCard]:
    """The loss of the newest steps stands far above that of the steps before."""
    usual, newest = _split(at)
    before = [point.loss for point in usual if point.applied and math.isfinite(point.loss)]
    now = [point.loss for point in newest if point.applied and math.isfinite(point.loss)]
    if not before or len(now) < _NEWEST_STEPS // 2 or at.view.run.outcome:
        return
    low, high = statistics.median(before), statistics.median(now)
    if high > LIMITS.loss_factor * low > 0:
        yield _alarm(
            "loss_explodes",
            f"step {newest[0].step}",
            f"the loss is {high:.4g}, {low:.4g} before",
            "lower optim.lr or train.grad_clip, and go on from a checkpoint before it",
            f"mlx-distributed plot {at.folder}",
            level="critical",
            since=newest[0].wall_seconds,
            host=at.view.run.host,
        )


def above_plan(at: Situation) -> Iterator[AlarmCard]:
    """A device held much more than the plan said."""
    for card in at.view.devices.values():
        if 0 < LIMITS.memory_share * card.planned_bytes < card.peak_bytes:
            yield _alarm(
                f"plan {card.rank}",
                f"worker {card.rank}",
                f"its device held {card.peak_bytes / 1e9:.2f} GB, and the plan said {card.planned_bytes / 1e9:.2f} GB",
                "leave more room than the plan says, or lower train.micro_batch_size",
                f"mlx-distributed plan {at.folder}/config.toml",
                level="info",
                since=at.now_seconds,
                host=card.host,
            )


def bad_data(at: Situation) -> Iterator[AlarmCard]:
    """More samples are left out as broken than a good data set has."""
    samples = at.view.run.samples
    for host in at.view.hosts.values():
        if samples and host.quarantined and host.quarantined > LIMITS.quarantined_share * samples:
            yield _alarm(
                "quarantine",
                f"{at.folder}/data/quarantine.jsonl",
                f"{host.quarantined} samples are left out as broken, {samples} are trained on",
                "each line of that file names a sample and what is wrong with it",
                f"mlx-distributed data preview {at.folder}/config.toml",
                since=at.now_seconds,
                host=host.name,
            )


RULES: tuple[Callable[[Situation], Iterator[AlarmCard]], ...] = (
    stalled,
    too_few_workers,
    budget,
    skipping,
    loss_explodes,
    disk_low,
    straggler,
    slow_down,
    bad_data,
    above_plan,
)
"""Every rule there is."""


def _alarm(
    key: str, subject: str, cause: str, fix: str, command: str, *, since: float, host: str, level: Level = "warning"
) -> AlarmCard:
    rule = key.partition(" ")[0]
    return AlarmCard(key, rule, level, subject, host, cause, fix, command, since)


def _split(at: Situation) -> tuple[tuple[StepPoint, ...], tuple[StepPoint, ...]]:
    """(the steps before, the newest ones); both empty where there are too few to compare."""
    points = at.state.training.recent.newest(_RECENT_STEPS + _NEWEST_STEPS)
    if len(points) < 2 * _NEWEST_STEPS:
        return (), ()
    return points[:-_NEWEST_STEPS], points[-_NEWEST_STEPS:]


def _mean(points: tuple[StepPoint, ...], name: str) -> float:
    values: list[float] = [getattr(point, f"{name}_seconds") for point in points]
    return sum(values) / len(values)
