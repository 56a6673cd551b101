"""How the facts about numbers and devices change the alarms and the marks. Pure."""

from __future__ import annotations

from typing import TypeAlias

from runtime.events.alarms import raise_alarm
from runtime.events.numerics import MicroBatchHalved, WorkerRetired
from runtime.events.state import RunState

Fact: TypeAlias = MicroBatchHalved | WorkerRetired


def folded(state: RunState, event: Fact) -> RunState:
    """The state after one fact of this file's subject."""
    match event:
        case MicroBatchHalved():
            place = f"worker {event.rank}"
            cause = f"out of memory at step {event.step}: {event.rows_before} rows at once became {event.rows}"
            return raise_alarm(state, f"memory {event.rank}", place, cause, fix="lower train.micro_batch_size")
        case WorkerRetired():
            return raise_alarm(
                state, f"retired {event.rank}", f"worker {event.rank}", event.reason, severity="critical"
            )
