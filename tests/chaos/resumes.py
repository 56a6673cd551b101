"""One run continued by other numbers of workers, against the same run by one worker.

    python -m tests.chaos.resumes
    python -m tests.chaos.resumes --workers 4,3,1,2 --steps 40
    python -m tests.chaos.resumes --width 16384 --steps 8     a state that is written in several shares

Each leg but the last is ended by one SIGINT at some step; the same command with another `--workers` goes on. Compared
are the losses of all steps as the journals have them, and the parameters in the end, once with sums by rank and once
with `run.deterministic`. Exit code 0 when the losses differ by no more than 1e-5 of themselves, and by nothing at all,
the parameters neither, when deterministic.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from runtime.checkpoint.layout import checkpoint_folders
from runtime.checkpoint.reader import verify
from runtime.events import CheckpointWritten, RunStarted, StepCommitted
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

GUARD_SECONDS = 600.0
MOST_DIFFERENCE = 1e-5
STOPPED = 130


@dataclass(frozen=True)
class Leg:
    """What one number of workers did, as the journal has it."""

    workers: int
    resumed_from: str
    first_step: int
    last_step: int
    checkpoints: int
    files: int
    """Tensor files of its newest checkpoint."""


@dataclass(frozen=True)
class Resumed:
    """A run in legs, and how far it is from the undivided one."""

    deterministic: bool
    legs: list[Leg]
    steps: int
    most_difference: float
    """The largest relative difference of a step's loss."""
    same_parameters: bool
    gaps: int
    """Steps that were left out or done twice."""

    @property
    def held(self) -> bool:
        """See the module."""
        exact = self.most_difference == 0.0 and self.same_parameters
        return self.gaps == 0 and (exact if self.deterministic else self.most_difference <= MOST_DIFFERENCE)

    def __str__(self) -> str:
        kind = "deterministic" if self.deterministic else "sums by rank"
        lines = [f"{kind}: {self.steps} steps, {self.gaps} left out or done twice"]
        for leg in self.legs:
            origin = leg.resumed_from or "the initial model"
            steps = f"steps {leg.first_step:4d} to {leg.last_step:4d}"
            saved = f"{leg.checkpoints} checkpoints, the last in {leg.files} files"
            lines.append(f"    {leg.workers} workers, {steps}, from {origin}; {saved}")
        same = "the same bits" if self.same_parameters else "other bits"
        lines.append(f"    against one worker: losses differ by {self.most_difference:.2e} at most; parameters: {same}")
        return "\n".join(lines)


def resumed(folder: Path, workers: Sequence[int], *, steps: int, deterministic: bool, width: int) -> Resumed:
    """Run both and compare them. Raises AssertionError when a run does not end as it should."""
    scratch = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": width}
    extra: dict[str, dict[str, Any]] = {
        "run": {"seed": 7, "deterministic": deterministic},
        "model": {"scratch": scratch},
        "checkpoint": {"every": max(2, steps // 8)},
    }
    config = write_tiny_config(folder, steps=steps, extra=extra)
    alone = _leg(config, folder, "alone", 1, steps, steps)
    legs = []
    for index, count in enumerate(workers):
        stop_after = steps * (index + 1) // len(workers)
        legs.append(_leg(config, folder, "legs", count, stop_after, steps))
    one, many = alone[1], legs[-1][1]
    gaps = sum(after.step != before.step + 1 for before, after in pairwise(many)) + (len(many) != len(one))
    differences = [abs(ours.loss - theirs.loss) / abs(theirs.loss) for ours, theirs in zip(many, one, strict=False)]
    same = legs[-1][2] == alone[2]
    return Resumed(deterministic, [leg for leg, _, _ in legs], len(many), max(differences), same, gaps)


def _leg(
    config: Path, folder: Path, name: str, workers: int, stop_after: int, steps: int
) -> tuple[Leg, list[StepCommitted], str]:
    """Go on with `workers` until `stop_after`: the leg, all commits so far, the parameters' hash."""
    with RunProcess(config, folder, name=name, arguments=("--workers", str(workers))) as run:
        if stop_after < steps:
            run.wait_for(StepCommitted, lambda event: event.step >= stop_after, within_seconds=GUARD_SECONDS)
            run.signal_root(signal.SIGINT)
        code = run.finish(within_seconds=GUARD_SECONDS)
        assert code == (0 if stop_after >= steps else STOPPED), run.tail()
        begun, commits, saved = run.events(RunStarted)[-1], run.events(StepCommitted), run.events(CheckpointWritten)
        manifest = verify(checkpoint_folders(run.run_folder / "checkpoints")[0])
        own = sum(event.step >= begun.first_step for event in saved)
        last = commits[-1].step
        assert manifest.step == last, f"the newest checkpoint is of step {manifest.step}, the last commit of {last}"
        leg = Leg(workers, begun.resumed_from, begun.first_step, last, own, len(manifest.files))
        return leg, commits, manifest.parameter_hash


def main() -> int:
    """Run it, print the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.resumes")
    parser.add_argument("--workers", default="4,3,1,2", help="one number for each leg")
    parser.add_argument("--steps", type=int, default=40, help="of the whole run")
    parser.add_argument("--width", type=int, default=64, help="intermediate_size of the model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    workers = [int(count) for count in args.workers.split(",")]
    found = []
    for deterministic in (False, True):
        with tempfile.TemporaryDirectory(prefix="mlxd-resumes-") as folder:
            report = resumed(Path(folder), workers, steps=args.steps, deterministic=deterministic, width=args.width)
        found.append(report)
        if not args.json:
            print(report, flush=True)
    if args.json:
        print(json.dumps([asdict(report) | {"held": report.held} for report in found], indent=2))
    return 0 if all(report.held for report in found) else 1


if __name__ == "__main__":
    sys.exit(main())
