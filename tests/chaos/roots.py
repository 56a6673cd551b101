"""The root of a real run killed at random moments, some of them inside a checkpoint, and the same command again.

    python -m tests.chaos.roots --kills 10
    python -m tests.chaos.roots --kills 10 --signal INT

Prints how long each of the run's processes outlived its root; exit code 0 when none did for longer than a second,
every sample was trained on exactly once, and the final parameters equal those of a run that was never stopped.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.app.process_identity import identity_of
from runtime.events import CheckpointStarted, CheckpointWritten, StepCommitted
from tests.chaos.disturbed import GUARD_SECONDS, STOPPED, settings, undisturbed_hash
from tests.chaos.ledger import Audit, audit, history, order_of
from tests.chaos.recovery import spread
from tests.support.journal import read_journal
from tests.support.run_process import RunProcess, clean_up_when_terminated
from tests.support.tiny import write_tiny_config
from tests.support.waiting import until

ORPHANS_GONE_WITHIN_SECONDS = 1.0
STEPS_BETWEEN = 8


@dataclass(frozen=True)
class Moment:
    """When a root is killed: so many steps after its beginning, or inside the checkpoint that follows them."""

    steps: int
    inside_checkpoint: bool
    delay_seconds: float


@dataclass(frozen=True)
class Killed:
    """One root's end."""

    moment: Moment
    at_step: int
    outlived_seconds: float
    """From the signal until no process of the run was alive."""
    left_a_draft: bool
    """A checkpoint was half written."""
    code: int


@dataclass(frozen=True)
class Outcome:
    """All of them, and what the run came to."""

    killed: tuple[Killed, ...]
    audit: Audit
    same_hash: bool

    @property
    def held(self) -> bool:
        """Nobody outlived the root, nothing was lost, the same bits."""
        in_time = all(one.outlived_seconds <= ORPHANS_GONE_WITHIN_SECONDS for one in self.killed if one.code < 0)
        return in_time and self.audit.exactly_once and self.same_hash

    def __str__(self) -> str:
        lines = [
            f"root {number:>2}: step {one.at_step:>4} {_where(one):<36} exit {one.code:>4}, "
            f"all gone after {one.outlived_seconds:.3f} s"
            for number, one in enumerate(self.killed, 1)
        ]
        equal = "equal to the undisturbed run's" if self.same_hash else "NOT those of the undisturbed run"
        lines += [
            f"all gone      {spread(one.outlived_seconds for one in self.killed)}",
            f"ledger        {self.audit}",
            f"parameters    {equal}",
        ]
        return "\n".join(lines)


def _where(one: Killed) -> str:
    inside = "inside a checkpoint" if one.moment.inside_checkpoint else ""
    return f"{inside}{', left a draft' if one.left_a_draft else ''}".strip(", ")


def random_moments(seed: int, count: int) -> tuple[Moment, ...]:
    """The same for the same seed; about every third lies inside a checkpoint."""
    draw = random.Random(seed)
    return tuple(
        Moment(draw.randint(1, STEPS_BETWEEN), draw.random() < 1 / 3, draw.uniform(0, 0.2)) for _ in range(count)
    )


def killed_roots(
    folder: Path, moments: Sequence[Moment], number: signal.Signals, *, guard_seconds: float = GUARD_SECONDS
) -> Outcome:
    """Kill one root after the other, let the last one finish, and compare it with a run in peace."""
    tables = settings(2, hidden=96, layers=2, every=3)
    steps = (len(moments) + 1) * STEPS_BETWEEN
    config = write_tiny_config(folder / "killed", steps=steps, extra=tables)
    killed = []
    for moment in moments:
        with RunProcess(config, folder / "killed") as run:
            killed.append(_kill(run, moment, number, guard_seconds))
    with RunProcess(config, folder / "killed") as run:
        code = run.finish(within_seconds=guard_seconds)
        assert code == 0, run.tail()
    journal = read_journal(run.run_folder / "events.jsonl")
    last = [envelope.event for envelope in journal if isinstance(envelope.event, CheckpointWritten)][-1]
    quiet = undisturbed_hash(folder / "quiet", steps, tables, guard_seconds=guard_seconds)
    return Outcome(
        tuple(killed),
        audit(history(journal), order_of(run.run_folder)),
        last.step == steps and last.parameter_hash == quiet,
    )


def _kill(run: RunProcess, moment: Moment, number: signal.Signals, guard_seconds: float) -> Killed:
    first = run.wait_for(StepCommitted, within_seconds=guard_seconds)
    at = first.step
    if moment.steps > 1:
        reached = first.step + moment.steps - 1
        at = run.wait_for(StepCommitted, lambda step: step.step >= reached, within_seconds=guard_seconds).step
    pids = [seen.pid for seen in run.alive()]
    if moment.inside_checkpoint:
        at = run.wait_for(CheckpointStarted, within_seconds=guard_seconds).step
    else:
        then = time.monotonic() + moment.delay_seconds
        until(lambda: time.monotonic() >= then, within_seconds=guard_seconds, what=lambda: "no time")
    sent = time.monotonic()
    run.signal_root(number)
    until(
        lambda: all(identity_of(pid) is None for pid in pids),
        within_seconds=guard_seconds,
        what=lambda: f"still alive: {run.alive()}",
    )
    outlived = time.monotonic() - sent
    drafts = list((run.run_folder / "checkpoints").glob("*.tmp"))
    code = run.finish(within_seconds=guard_seconds)
    assert code == (-number if number is signal.SIGKILL else STOPPED), run.tail()
    return Killed(moment, at, outlived, bool(drafts), code)


def main() -> int:
    """Run it, print what was found, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.roots")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM"), default="KILL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything there; default: a temporary folder")
    args = parser.parse_args()
    clean_up_when_terminated()
    number = signal.Signals[f"SIG{args.signal}"]
    with tempfile.TemporaryDirectory(prefix="mlxd-roots-") as temporary:
        outcome = killed_roots(args.folder or Path(temporary), random_moments(args.seed, args.kills), number)
    print(outcome)
    return 0 if outcome.held else 1


if __name__ == "__main__":
    sys.exit(main())
