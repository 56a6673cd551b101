"""The bubble of a pipeline of real processes against the simulator's and the formula's. By hand:

    python -P -m tests.benchmarks.bubble [UNIT_SECONDS]

Each stage is a process with the real executor and transport; its pieces take a calibrated time and no core, so that two
cores are enough for four devices. The bar: within three points of the simulator. A longer unit drowns a busy machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

from runtime.pipeline.actions import SCHEDULE_NAMES, ScheduleName
from runtime.pipeline.schedules import build as schedule_of
from runtime.pipeline.simulator import PieceTimes, Workload, simulate
from tests.benchmarks.bubble_stage import Task
from tests.integration.pipeline.processes import hear, start, tell

AT_MOST_POINTS = 3.0
UNIT_SECONDS = 0.2
STAGES, MICRO_BATCHES = 4, 16


def measured(name: ScheduleName, stages: int, micro_batches: int, unit_seconds: float) -> tuple[float, float]:
    """(bubble, seconds) of one step on real processes: the share of all stages' time in which they did not work."""
    chunks = chunks_of(name)
    with ExitStack() as stack:
        processes = [start("tests.benchmarks.bubble_stage", stack) for _ in range(stages)]
        for stage, process in enumerate(processes):
            task = Task(name, stages, micro_batches, chunks, stage, unit_seconds / chunks)
            tell(process, json.dumps(asdict(task)))
        addresses = json.dumps([hear(process) for process in processes])
        for process in processes:
            tell(process, addresses)
        assert [hear(process) for process in processes] == ["ready"] * stages
        for process in processes:
            tell(process, "go")
        spans = [json.loads(hear(process)) for process in processes]
    began = min(first for each in spans for first, _ in each)
    seconds = max(last for each in spans for _, last in each) - began
    busy = sum(last - first for each in spans for first, last in each)
    return 1 - busy / (stages * seconds), seconds


def simulated(name: ScheduleName, stages: int, micro_batches: int, unit_seconds: float) -> tuple[float, float]:
    """The same from the simulator."""
    chunks = chunks_of(name)
    unit = unit_seconds / chunks
    schedule = schedule_of(name, stages, micro_batches, chunks)
    played = simulate(schedule, Workload((PieceTimes(unit, unit, unit),) * schedule.positions))
    return played.bubble, played.step_s


def formula(name: ScheduleName, stages: int, micro_batches: int) -> float:
    """The literature's bubble where forward and both halves of the backward pass take the same time."""
    rounds = {"interleaved": chunks_of("interleaved") * micro_batches, "zb-h1": 3 * micro_batches}
    return (stages - 1) / (rounds.get(name, micro_batches) + stages - 1)


def chunks_of(name: ScheduleName) -> int:
    """Pieces per stage."""
    return 2 if name == "interleaved" else 1


def main(arguments: Sequence[str]) -> int:
    """Print the table; exit code 1 when a schedule misses the bar."""
    unit_seconds = float(arguments[0]) if arguments else UNIT_SECONDS
    print(f"{STAGES} stages, {MICRO_BATCHES} micro-batches, {unit_seconds:g} s for F, B and W each")
    print("schedule       formula  simulated  measured   points   step simulated  measured")
    missed = 0
    for name in SCHEDULE_NAMES:
        expected, expected_s = simulated(name, STAGES, MICRO_BATCHES, unit_seconds)
        bubble, seconds = measured(name, STAGES, MICRO_BATCHES, unit_seconds)
        points = 100 * (bubble - expected)
        missed += abs(points) > AT_MOST_POINTS
        shares = f"{100 * formula(name, STAGES, MICRO_BATCHES):6.1f} %   {100 * expected:6.1f} %  {100 * bubble:6.1f} %"
        print(f"{name:12}  {shares}   {points:+5.1f}   {expected_s:12.1f} s  {seconds:6.1f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
