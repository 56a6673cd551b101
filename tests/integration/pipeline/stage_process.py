"""One stage of a pipeline as a process of its own: the real executor over the real transport.

Reads one line of JSON (see `Job`), writes its address, reads everybody's addresses, runs the step, writes its gradients
to a file and prints what it measured; then it waits for the end of its input, so that nobody's last message is lost.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

import mlx.core as mx
import numpy as np

from runtime.collectives.point_to_point import PointToPoint
from runtime.ids import Generation, Rank, RunId, Step
from runtime.models.anatomy import examine
from runtime.pipeline.actions import ScheduleName
from runtime.pipeline.schedules import build as schedule_of
from runtime.pipeline.stage import Stage, Totals
from runtime.trainer.gradients import trainable
from runtime.trainer.stage_link import StageLink
from tests.unit.pipeline import models
from tests.unit.pipeline.rehearsal import cut, micros_of

RUN = RunId("stages")
GUARD_SECONDS = 300.0


@dataclass(frozen=True)
class Job:
    """What one stage is to do; all stages of a pipeline get the same but for `stage` and `result`."""

    kind: str
    layers: int
    schedule: ScheduleName
    stages: int
    micro_batches: int
    stage: int
    shared_memory: bool
    result: str
    """Path of a safetensors file: the stage's gradients, and losses under `loss.<micro-batch>` from the last one."""

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def main() -> None:
    """Serve one job."""
    job = Job(**json.loads(sys.stdin.readline()))
    port = PointToPoint.open(
        "127.0.0.1:0", RUN, Rank(job.stage), shared_memory=job.shared_memory, message_bytes=1 << 10
    )
    print(port.address, flush=True)
    addresses = json.loads(sys.stdin.readline())
    port.set_members(Generation(1), {Rank(stage): address for stage, address in enumerate(addresses)})
    try:
        print(json.dumps(step(job, port)), flush=True)
        sys.stdin.read()
    finally:
        port.close()


def step(job: Job, port: PointToPoint) -> dict[str, object]:
    """Run the job's only step; whole names, sizes and seconds."""
    chunks = 2 if job.schedule == "interleaved" else 1
    schedule = schedule_of(job.schedule, job.stages, job.micro_batches, chunks)
    model = models.build(job.kind, num_hidden_layers=job.layers)
    pieces = cut(model, examine(model), schedule.positions)[job.stage :: job.stages]
    stage, everything = Stage(pieces), trainable(model)
    own = {name: value for name, value in everything.items() if name in stage.owned}
    before = mx.get_active_memory()
    mx.eval(own)
    loaded_bytes = mx.get_active_memory() - before
    ranks = [Rank(each) for each in range(job.stages)]
    link = StageLink(port, Generation(1), Step(1), ranks, schedule.positions, schedule.capacity, GUARD_SECONDS)
    totals = Totals()
    began = time.perf_counter()
    stage.run(schedule.actions[job.stage], micros_of(job.micro_batches, rows=1), own, link, totals)
    seconds = time.perf_counter() - began
    losses = {f"loss.{index}": value for index, value in totals.losses_by_micro.items()}
    mx.save_safetensors(job.result, {**totals.by_name, **losses})
    own_bytes = int(np.sum([value.nbytes for value in own.values()]))
    return {
        "seconds": seconds,
        "own_bytes": own_bytes,
        "loaded_bytes": loaded_bytes,
        "lanes": sorted(port.lanes.values()),
    }


if __name__ == "__main__":
    main()
