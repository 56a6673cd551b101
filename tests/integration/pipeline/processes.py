"""Starts the processes of one pipeline and collects what they computed. By hand, the whole table:

python -P -m tests.integration.pipeline.processes
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import mlx.core as mx

from runtime.models.piece import Tree
from runtime.pipeline.actions import SCHEDULE_NAMES
from tests.integration.pipeline.stage_process import Job
from tests.support.repository import ROOT
from tests.unit.pipeline import models
from tests.unit.pipeline.rehearsal import anatomy_of, micros_of
from tests.unit.pipeline.test_stage import ATOL, RTOL, reference


def start(module: str, stack: ExitStack) -> subprocess.Popen[str]:
    """A process of `module` that is killed, if it still runs, and reaped when the stack is left."""
    command = [sys.executable, "-P", "-m", module]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write one line to its input."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """The next line of its output; an empty one when it is over."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def run(job: Job, folder: Path) -> tuple[Tree, list[dict[str, Any]]]:
    """Run `job` on `job.stages` processes: (all that they saved, added up by name; what each of them measured)."""
    with ExitStack() as stack:
        processes = [start("tests.integration.pipeline.stage_process", stack) for _ in range(job.stages)]
        files = [folder / f"{stage}.safetensors" for stage in range(job.stages)]
        for stage, process in enumerate(processes):
            tell(process, replace(job, stage=stage, result=str(files[stage])).line())
        addresses = json.dumps([hear(process) for process in processes])
        for process in processes:
            tell(process, addresses)
        said = [json.loads(hear(process)) for process in processes]
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        assert [process.wait() for process in processes] == [0] * job.stages
    total: Tree = {}
    for file in files:
        saved: Any = mx.load(str(file))
        for name, value in saved.items():
            total[name] = total[name] + value if name in total else value
    return total, said


def worst_of(job: Job, total: Tree) -> float:
    """The largest |difference| / (ATOL + RTOL |expected|) over losses and gradients: up to 1 is as good as equal."""
    model = models.build(job.kind, num_hidden_layers=job.layers)
    anatomy_of(model)
    losses, expected = reference(model, micros_of(job.micro_batches, rows=1))
    expected |= {f"loss.{index}": value for index, value in enumerate(losses)}
    assert total.keys() == expected.keys()
    off = [(mx.abs(total[name] - value) / (ATOL + RTOL * mx.abs(value))).max() for name, value in expected.items()]
    return float(max(each.item() for each in off))


def main(kinds: Sequence[str]) -> int:
    """The whole table over real processes; exit code 1 when a pipeline differs from one device."""
    differing = 0
    for kind, stages, schedule in product(kinds or models.KINDS, (2, 3, 4), SCHEDULE_NAMES):
        for micro_batches in (stages, 4 * stages):
            job = Job(kind, 2 * stages, schedule, stages, micro_batches, 0, stages % 2 == 0, "")
            with tempfile.TemporaryDirectory() as folder:
                total, said = run(job, Path(folder))
            case = f"{kind:7} {schedule:12} p={stages} m={micro_batches:<2} {said[0]['lanes'][0]:13}"
            worst = worst_of(job, total)
            differing += worst > 1
            print(f"{case} {worst:.3f} of the tolerance", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
