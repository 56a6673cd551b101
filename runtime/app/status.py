"""Where a run is, as the wire has it: from what its facts add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mlxd_wire import control_pb2 as pb

from runtime.events import RunState
from runtime.events.pace import step_seconds
from runtime.ids import Rank


def status_of(state: RunState, ranks: Sequence[Rank], root_pid: int) -> pb.RunStatus:
    """A run's state as the wire has it; `ranks` are the workers that there should be."""
    training, plan = state.training, state.plan
    workers = [
        pb.WorkerStatus(
            rank=rank,
            phase=row.phase if row else "",
            incarnation=row.incarnation if row else 0,
            pid=row.pid if row else 0,
            state_step=max(0, state.step_of(rank)),
        )
        for rank in ranks
        for row in (state.workers.get(rank),)
    ]
    return pb.RunStatus(
        name=plan.name if plan else "",
        status=state.status,
        step=training.step,
        last_step=plan.last_step if plan else 0,
        generation=state.generation,
        loss=training.last.loss if training.last else 0.0,
        step_seconds=step_seconds(state) or 0.0,
        cursor=training.cursor,
        workers=workers,
        spares=len(state.spares),
        restarts=state.restarts,
        root_pid=root_pid,
        began=state.started_seconds,
        paused_by=state.pausing,
    )
