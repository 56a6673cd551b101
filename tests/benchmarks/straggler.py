"""A worker at half speed against the harmonic ideal: `python -m tests.benchmarks.straggler [--json]`. By hand only.

The real command trains the quickstart's model on two workers. After some quiet steps one of them is stopped and
continued from outside in equal parts of a few milliseconds, as if its device were half as fast. Two devices of speeds
1 and 1/2 that share the work as well as possible need 4/3 of the quiet time; if the work stayed in halves they would
need twice as much. Steps are compared by seconds per position, because batches differ in length.

Both workers need a core of their own, and the machine must have nothing else to do: a core that is taken away from the
"fast" worker makes it slow as well, which the coordinator then believes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from runtime.events import ShardsMoved, StepCommitted
from runtime.ids import Rank, Step
from tests.benchmarks.bare_loop import GUARD_SECONDS, LONG_ENOUGH_TO_COMPILE, ONE_BLAS_THREAD, write_config
from tests.support.run_process import RunProcess
from tests.support.waiting import let_pass

WARM_UP, QUIET, ADAPTING, COUNTED = 10, 40, 20, 40
"""Steps: not counted; quiet ones; throttled ones until the bar counts; throttled ones that are compared."""
SLICE_SECONDS = 0.005
SLOW = Rank(1)
HARMONIC = 2 / (1 + 0.5)


@dataclass(frozen=True)
class Cost:
    """Microseconds per position, medians of steps."""

    quiet: float
    at_first: float
    """Throttled, with the shards still in halves."""
    in_the_end: float
    moves: tuple[tuple[int, tuple[int, ...]], ...]
    """(step since the throttling began, shards of each worker from then on)."""

    @property
    def over_ideal(self) -> float:
        """Share by which a throttled step is slower in the end than the best division could make it."""
        return self.in_the_end / (self.quiet * HARMONIC) - 1

    def __str__(self) -> str:
        moves = "; ".join(f"{'/'.join(map(str, counts))} after {step} steps" for step, counts in self.moves)
        return (
            f"one of two workers at half speed: quiet {self.quiet:.2f} us per position, throttled {self.at_first:.2f} "
            f"at first and {self.in_the_end:.2f} in the end; harmonic ideal {self.quiet * HARMONIC:.2f}: "
            f"{self.over_ideal:+.1%} (shards {moves or 'did not move'})"
        )


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """The process runs half of the time, in short slices."""
    over = threading.Event()

    def pace() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            let_pass(SLICE_SECONDS)
            os.kill(pid, signal.SIGCONT)
            let_pass(SLICE_SECONDS)

    thread = threading.Thread(target=pace)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


def measure() -> Cost:
    """Run the command and read its journal."""
    os.environ.update(ONE_BLAS_THREAD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder)
        tables = tomllib.loads(config.read_text())
        tables["train"] = {"steps": LONG_ENOUGH_TO_COMPILE, "global_batch_size": 64, "micro_batch_size": 4}
        tables["parallel"] = {"workers": 2}
        config.write_text(tomli_w.dumps(tables))
        with RunProcess(config, folder, name="straggler") as run:
            quiet_until = _reach(run, Step(WARM_UP + QUIET))
            with throttled(run.worker_pids()[SLOW]):
                _reach(run, Step(quiet_until + ADAPTING + COUNTED))
            commits, moves = run.events(StepCommitted), run.events(ShardsMoved)
    began = Step(quiet_until + 1)
    moved = [fact for fact in moves if fact.step > began]
    first = moved[0].step if moved else began + ADAPTING
    return Cost(
        quiet=_median([step for step in commits if WARM_UP < step.step <= quiet_until]),
        at_first=_median([step for step in commits if began < step.step < first]),
        in_the_end=_median([step for step in commits if step.step > began + ADAPTING]),
        moves=tuple((fact.step - began, tuple(count for _, count in fact.after)) for fact in moved),
    )


def _reach(run: RunProcess, step: Step) -> Step:
    return run.wait_for(StepCommitted, lambda event: event.step >= step, within_seconds=GUARD_SECONDS).step


def _median(steps: Sequence[StepCommitted]) -> float:
    return statistics.median(step.seconds / step.computed_positions * 1e6 for step in steps)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, for a person or (`--json`) for a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    cost = measure()
    print(json.dumps(asdict(cost) | {"over_ideal": cost.over_ideal}) if given.json else cost)


if __name__ == "__main__":
    main()
