"""From what the facts add up to, and the gauges, to the picture. Pure: time comes in as an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from runtime.events import CheckpointFailed, CheckpointRejected, RunState
from runtime.events.pace import smoothed_loss
from runtime.events.state import ActorRow, StepPoint
from runtime.ids import rank_of
from runtime.view.advice import told_alarms
from runtime.view.cards import (
    AlarmCard,
    CheckpointCard,
    DeviceCard,
    HostCard,
    MarkCard,
    NodeCard,
    RunCard,
    RunView,
    WorkerCard,
)
from runtime.view.gauges import Beat, Gauges
from runtime.view.rules import Situation, found_alarms

_WINDOW_STEPS = 32
_TAIL_CHARACTERS = 600
_DIGITS = 6
_SURE = 1.96
"""Standard deviations on both sides of the mean within which 95 % of a normal distribution lie."""


def view_of(
    state: RunState,
    now_seconds: float,
    gauges: Gauges | None = None,
    *,
    folder: str = "RUN",
    before: RunView | None = None,
) -> RunView:
    """The picture at `now_seconds` (Unix time).

    `folder` is the run's folder as a user would type it, for the commands that mend alarms. `before` is the picture
    just before this one: an alarm that it had already keeps the time since when.
    """
    gauges = gauges or Gauges()
    view = RunView(
        run=run_card(state),
        nodes=_nodes(state, gauges),
        workers=_workers(state, gauges),
        devices=_devices(state, gauges),
        hosts=_hosts(gauges),
        checkpoints=_checkpoints(state),
        marks={f"{mark.step} {mark.kind} {mark.text}": MarkCard(*mark) for mark in state.marks},
    )
    found = found_alarms(Situation(view, state, now_seconds, folder))
    return _with_alarms(view, state, [*told_alarms(state, folder), *found], before)


def run_card(state: RunState) -> RunCard:
    """The run as a whole."""
    plan, training, outcome = state.plan, state.training, state.outcome
    points = training.recent.newest(_WINDOW_STEPS)
    last = training.last if points else None
    left = max(0, plan.last_step - training.step) if plan else 0
    low, high = remaining(points, left) if outcome is None and plan else (None, None)
    pace = _mean(points, lambda point: point.seconds)
    return RunCard(
        name=plan.name if plan else "",
        status=state.status,
        model=plan.model if plan else "",
        run_id=plan.run_id if plan else "",
        host=plan.host if plan else "",
        pid=plan.pid if plan else 0,
        version=plan.version if plan else "",
        command=plan.command if plan else "",
        started_seconds=state.started_seconds,
        sessions=state.sessions,
        generation=state.generation,
        members=tuple(sorted(rank for rank, _ in state.members)),
        workers=sum(row.phase != "leaving" for row in state.workers.values()) or (plan.workers if plan else 0),
        spares=len(state.spares),
        restarts=state.restarts,
        workers_lost=state.workers_lost,
        stopping=state.stopping,
        pausing=state.pausing,
        resumed_seconds=state.resumed_seconds,
        outcome=outcome.outcome if outcome else "",
        reason=outcome.reason if outcome else "",
        step=training.step,
        first_step=plan.first_step if plan else 0,
        last_step=plan.last_step if plan else 0,
        committed_seconds=round(points[-1].wall_seconds, 2) if points else 0.0,
        cursor=training.cursor,
        samples_per_step=plan.samples_per_step if plan else 0,
        samples=plan.samples if plan else 0,
        tokens=training.tokens,
        loss=_finite(last.loss) if last else None,
        smoothed_loss=_finite(smoothed_loss(state)),
        learning_rate=_finite(last.learning_rate) if last else None,
        grad_norm=_finite(last.grad_norm) if last else None,
        loss_scale=training.loss_scale,
        tokens_per_second=_rate(points),
        step_seconds=pace,
        compute_seconds=_mean(points, lambda point: point.compute_seconds),
        exchange_seconds=_mean(points, lambda point: point.exchange_seconds),
        feed_seconds=_mean(points, lambda point: point.feed_seconds),
        remaining_seconds=_finite(left * pace) if pace is not None and outcome is None and plan else None,
        remaining_low_seconds=_finite(low),
        remaining_high_seconds=_finite(high),
        skipped=training.skipped,
        aborted=training.aborted,
        writing_step=state.writing_step,
        unknown=state.unknown,
    )


def remaining(points: tuple[StepPoint, ...], left: int) -> tuple[float | None, float | None]:
    """Between which times `left` more steps will be done, with 95 %; (None, None) before the second step.

    The prediction interval of a sum of `left` normal times whose mean was measured over n of them:
    left * mean +- 1.96 * s * sqrt(left + left^2 / n).
    """
    count = len(points)
    if count < 2:
        return None, None
    times = [point.seconds for point in points]
    mean = sum(times) / count
    deviation = math.sqrt(sum((one - mean) ** 2 for one in times) / (count - 1))
    reach = _SURE * deviation * math.sqrt(left + left * left / count)
    return max(0.0, left * mean - reach), left * mean + reach


def _with_alarms(view: RunView, state: RunState, alarms: Iterable[AlarmCard], before: RunView | None) -> RunView:
    """The picture with these alarms: since when, and whether somebody has seen them since."""
    known = before.alarms if before is not None else {}
    cards = {}
    for card in alarms:
        old = known.get(card.key)
        is_same = old is not None and old.rule == card.rule and not old.is_mended
        since = min(card.since_seconds, old.since_seconds) if old is not None and is_same else card.since_seconds
        who, when = state.acknowledged.get(card.key, ("", 0.0))
        cards[card.key] = replace(card, since_seconds=since, acknowledged_by=who if when >= since else "")
    return replace(view, alarms=cards)


def _nodes(state: RunState, gauges: Gauges) -> dict[str, NodeCard]:
    return {path: _node(row, gauges) for path, row in state.actors.items()}


def _node(row: ActorRow, gauges: Gauges) -> NodeCard:
    rank = rank_of(row.path)
    beat = gauges.beats.get(rank) if rank is not None and row.status == "ready" else None
    return NodeCard(
        path=row.path,
        parent=row.path.rpartition("/")[0],
        status=row.status,
        strategy=row.strategy,
        incarnation=row.incarnation,
        since_seconds=row.since_seconds,
        pid=row.pid,
        host=row.host,
        device=row.device,
        restarts=row.restarts,
        budget=row.budget,
        period_seconds=row.period_seconds,
        failures=row.failures,
        **_beat(beat, "beat_seconds", "step", "phase"),
        reason=row.reason,
        tail=row.tail[-_TAIL_CHARACTERS:],
    )


def _workers(state: RunState, gauges: Gauges) -> dict[str, WorkerCard]:
    cards = {}
    for rank, row in sorted(state.workers.items()):
        cards[str(rank)] = WorkerCard(
            rank=rank,
            phase=row.phase,
            incarnation=row.incarnation,
            host=row.host,
            device=row.device,
            pid=row.pid,
            state_step=max(0, row.state_step),
            losses=row.losses,
            shards=row.shards,
            positions_per_second=row.positions_per_second,
            since_seconds=row.since_seconds,
            **_beat(gauges.beats.get(rank), "beat_seconds", "beat_step", "beat_phase"),
            reason=row.reason,
        )
    return cards


def _beat(beat: Beat | None, *names: str) -> dict[str, Any]:
    """A beat is told to the tenth of a second."""
    return dict(zip(names, (round(beat.seconds, 1), beat.step, beat.phase), strict=True)) if beat is not None else {}


def _devices(state: RunState, gauges: Gauges) -> dict[str, DeviceCard]:
    cards = {}
    for rank in sorted({*state.workers, *state.devices}):
        row, said = state.workers.get(rank), state.devices.get(rank)
        elsewhere = bool(row and row.host and gauges.host and row.host != gauges.host)
        use = (
            gauges.processes.get(row.pid) if row and row.pid and not elsewhere else None
        )  # a process id of this machine
        cards[str(rank)] = DeviceCard(
            rank=rank,
            kind=row.device if row else "",
            host=row.host if row else "",
            peak_bytes=said.peak_bytes if said else 0,
            planned_bytes=said.planned_bytes if said else 0,
            measured_step=said.step if said else 0,
            process_bytes=use.resident_bytes if use else None,
            process_cpu=round(use.cores, 2) if use and use.cores is not None else None,
            sampled_seconds=gauges.sampled_seconds if use else 0.0,
            source=gauges.source if use else "",
        )
    return cards


def _hosts(gauges: Gauges) -> dict[str, HostCard]:
    if not gauges.host:
        return {}
    return {
        gauges.host: HostCard(
            name=gauges.host,
            cores=gauges.cores,
            load=gauges.load,
            disk_free_bytes=gauges.disk_free_bytes,
            disk_total_bytes=gauges.disk_total_bytes,
            quarantined=gauges.quarantined,
            sampled_seconds=gauges.sampled_seconds,
            source=gauges.source,
        )
    }


def _checkpoints(state: RunState) -> dict[str, CheckpointCard]:
    """What is on disk, oldest first; then what failed or was rejected and has no better news; then what is written."""
    cards = {
        each.path: CheckpointCard(
            path=each.path,
            step=each.step,
            size_bytes=each.size_bytes,
            seconds=each.seconds,
            said_seconds=state.written_seconds.get(each.path, 0.0),
            parameter_hash=each.parameter_hash,
        )
        for each in state.checkpoints
    }
    written = {card.step for card in cards.values()}
    for envelope in state.notable:
        event, when = envelope.event, envelope.wall_seconds
        if isinstance(event, CheckpointFailed) and event.step not in written:
            path = f"step {event.step}"
            cards[path] = CheckpointCard(path, event.step, "failed", said_seconds=when, reason=event.reason)
        elif isinstance(event, CheckpointRejected) and event.path not in cards:
            cards[event.path] = CheckpointCard(event.path, 0, "rejected", said_seconds=when, reason=event.reason)
    if state.writing_step is not None:
        path = f"step {state.writing_step}"
        cards[path] = CheckpointCard(path, state.writing_step, "writing")
    return cards


def _mean(points: tuple[StepPoint, ...], value: Callable[[StepPoint], float]) -> float | None:
    return _finite(sum(map(value, points)) / len(points)) if points else None


def _rate(points: tuple[StepPoint, ...]) -> float | None:
    seconds = sum(point.seconds for point in points)
    return _finite(sum(point.tokens for point in points) / seconds) if seconds > 0 else None


def _finite(value: float | None) -> float | None:
    """The value to as many digits as anybody reads: each further one would change at every step, and be sent."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else None
