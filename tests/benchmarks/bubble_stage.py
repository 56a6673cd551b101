"""One stage of `bubble.py`: the real executor and transport around a piece that takes a calibrated time and no core.

Reads three lines: a `Task` as JSON, everybody's addresses, and `go`. Writes its address, `ready` after a step that
opened the lanes, and then when it worked in the measured step, in seconds of this host's monotonic clock.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, cast

import mlx.core as mx
import numpy as np

from runtime.collectives.point_to_point import PointToPoint
from runtime.flow import Micro
from runtime.ids import Generation, Rank, RunId, ShardId, Step
from runtime.models.piece import Bytes, Piece
from runtime.pipeline.actions import Schedule, ScheduleName
from runtime.pipeline.schedules import build as schedule_of
from runtime.pipeline.stage import Stage, Totals
from runtime.trainer.stage_link import StageLink

GUARD_SECONDS = 300.0
ACTIVATION_BYTES = 1 << 18


@dataclass(frozen=True)
class Task:
    """What one stage does."""

    schedule: ScheduleName
    stages: int
    micro_batches: int
    chunks: int
    stage: int
    unit_seconds: float
    """A forward pass of a piece, as long as either half of a backward pass."""


@dataclass
class Clock:
    """Passes calibrated time, and notes when."""

    unit_seconds: float
    spans: list[tuple[float, float]] = field(default_factory=list)

    def work(self) -> None:
        """Wait on something that nobody sets: the device is busy, a core of this machine is not."""
        began = time.monotonic()
        threading.Event().wait(self.unit_seconds)
        self.spans.append((began, time.monotonic()))


@dataclass
class TimedPiece:
    """What `Stage` asks of a Piece, in calibrated time."""

    clock: Clock
    is_first: bool
    is_last: bool

    def boundary_bytes(self, _tokens_BT: mx.array) -> int:
        return ACTIVATION_BYTES

    def received(self, data: Bytes, _tokens_BT: mx.array) -> mx.array:
        return mx.array(data)

    def forward(
        self, _parameters: Any, _tokens_BT: Any, _mask_BT: Any, _given: mx.array | None, _weight: float
    ) -> TimedPass:
        self.clock.work()
        return TimedPass(self.clock, self.is_first)


@dataclass
class TimedPass:
    """What `Stage` asks of a Pass: each half of the backward pass is asked for once."""

    clock: Clock
    is_first: bool
    output: mx.array = field(default_factory=lambda: mx.zeros(ACTIVATION_BYTES, mx.uint8))

    def give(self, cotangent: Bytes) -> None:
        assert cotangent.size == ACTIVATION_BYTES

    @property
    def into_input(self) -> mx.array | None:
        self.clock.work()
        return None if self.is_first else self.output

    @property
    def weights(self) -> dict[str, mx.array]:
        self.clock.work()
        return {}


def main() -> None:
    """Serve one task."""
    task = Task(**json.loads(sys.stdin.readline()))
    port = PointToPoint.open("127.0.0.1:0", RunId("bubble"), Rank(task.stage))
    print(port.address, flush=True)
    members = {Rank(stage): address for stage, address in enumerate(json.loads(sys.stdin.readline()))}
    port.set_members(Generation(1), members)
    try:
        run(task, port, Step(1), micro_batches=task.stages, unit_seconds=0.0)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(run(task, port, Step(2), task.micro_batches, task.unit_seconds)), flush=True)
        sys.stdin.read()
    finally:
        port.close()


def run(
    task: Task, port: PointToPoint, step: Step, micro_batches: int, unit_seconds: float
) -> list[tuple[float, float]]:
    """One step; when the stage worked."""
    schedule: Schedule = schedule_of(task.schedule, task.stages, micro_batches, task.chunks)
    clock = Clock(unit_seconds)
    positions = [schedule.position(task.stage, chunk) for chunk in range(task.chunks)]
    pieces = [TimedPiece(clock, each == 0, each == schedule.positions - 1) for each in positions]
    ranks = [Rank(stage) for stage in range(task.stages)]
    link = StageLink(port, Generation(1), step, ranks, schedule.positions, schedule.capacity, GUARD_SECONDS)
    micro = Micro((ShardId(0),), np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32))
    stage = Stage(cast(list[Piece], pieces))
    stage.run(schedule.actions[task.stage], [micro] * micro_batches, {}, link, Totals())
    return clock.spans


if __name__ == "__main__":
    main()
