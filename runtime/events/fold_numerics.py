"""How the facts about numbers and devices change the alarms and the marks. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from runtime.events.alarms import raise_alarm
from runtime.events.numerics import (
    DataSuspected,
    DeviceMeasured,
    DeviceSuspected,
    GradientClipped,
    LossScaleChanged,
    MicroBatchHalved,
    ReplicaDrifted,
    WorkerRetired,
)
from runtime.events.state import Mark, RunState

Fact: TypeAlias = (
    DeviceMeasured
    | MicroBatchHalved
    | ReplicaDrifted
    | WorkerRetired
    | GradientClipped
    | LossScaleChanged
    | DeviceSuspected
    | DataSuspected
)


def folded(state: RunState, event: Fact) -> RunState:
    """The state after one fact of this file's subject."""
    match event:
        case DeviceMeasured():
            return replace(state, devices={**state.devices, event.rank: event})
        case MicroBatchHalved():
            place = f"worker {event.rank}"
            cause = f"out of memory at step {event.step}: {event.rows_before} rows at once became {event.rows}"
            return raise_alarm(state, f"memory {event.rank}", place, cause, fix="lower train.micro_batch_size")
        case ReplicaDrifted():
            cause = f"its parameters after step {event.step} are not the others'"
            fix = "it gets theirs" if event.expected_hash else "nobody knows who is right: back to the last checkpoint"
            fix += "; if this happens again, test the device's memory"
            return raise_alarm(state, f"drift {event.rank}", f"worker {event.rank}", cause, fix=fix)
        case GradientClipped():
            return replace(state, marks=state.marks.append(Mark(event.step, "clipped", f"z {event.zscore:.1f}")))
        case LossScaleChanged():
            return replace(state, training=replace(state.training, loss_scale=event.after))
        case DeviceSuspected():
            cause = f"its numbers of step {event.step} were bad, another worker's were not ({event.times}. time)"
            fix = f"at {event.most} it leaves the run; have its memory tested"
            return raise_alarm(state, f"device {event.rank}", f"worker {event.rank}", cause, fix=fix)
        case DataSuspected():
            cause = f"{event.reason}, on two workers alike"
            return raise_alarm(state, "data", f"step {event.step}", cause, fix="look at the samples of that step")
        case WorkerRetired():
            return raise_alarm(
                state, f"retired {event.rank}", f"worker {event.rank}", event.reason, severity="critical"
            )
