"""A run with a script of faults, and its undisturbed twin.

The disturbed run has no last step: when the script is through and the run is whole, one SIGINT ends it after a
checkpoint. The twin then trains exactly that many steps. So a script is never cut short by a fast machine or a slow
one, and the two checkpoints must be equal bit by bit.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.events import CheckpointWritten, Envelope
from runtime.ids import Step
from tests.chaos.census import Occupied, census
from tests.chaos.injector import Injected, Injector
from tests.chaos.ledger import audit, history, order_of
from tests.chaos.recovery import recoveries, repeated_steps, rolled_back_steps
from tests.chaos.report import Report
from tests.chaos.script import FaultScript
from tests.support.journal import read_journal
from tests.support.run_process import RunProcess
from tests.support.tiny import write_tiny_config

GUARD_SECONDS = 300.0
ENDLESS = 1_000_000
STOPPED = 130


def settings(workers: int, *, hidden: int = 32, layers: int = 1, spare: int = 1, every: int = 20) -> dict[str, Any]:
    """The tables in which a chaos run differs from the tiny one: bit-exact, patient with crashes, constant rate."""
    scratch = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2}
    return {
        "run": {"seed": 7, "deterministic": True},
        "model": {"scratch": {**scratch, "intermediate_size": 2 * hidden}},
        "optim": {"lr": 1e-3, "schedule": "constant"},
        "parallel": {"workers": workers},
        "checkpoint": {"every": every},
        "supervision": {
            "intensity": 1000,
            "backoff_s": 0.05,
            "backoff_factor": 1.0,
            "hang_floor_s": 5.0,
            "spare": spare,
        },
    }


@dataclass(frozen=True)
class Disturbed:
    """What is left of a disturbed run when it has stopped."""

    folder: Path
    injected: list[Injected]
    journal: list[Envelope]
    stopped_at: Step
    parameter_hash: str
    """Of the checkpoint after `stopped_at`."""
    before: dict[str, Occupied]
    after: dict[str, Occupied]


def disturb(
    folder: Path,
    script: FaultScript,
    tables: Mapping[str, Mapping[str, Any]],
    *,
    spares: int = 0,
    guard_seconds: float = GUARD_SECONDS,
) -> Disturbed:
    """Run with `tables` until the script is through and the run is whole again, then stop it in order."""
    config = write_tiny_config(folder, steps=ENDLESS, extra=tables)
    with RunProcess(config, folder, name="disturbed") as run:
        injector = Injector(run, guard_seconds=guard_seconds, spares=spares)
        injector.wait_until_whole(step=1)
        before = census(run.alive())
        injected = injector.commit(script)
        injector.wait_until_whole()
        after = census(run.alive())
        run.signal_root(signal.SIGINT)
        code = run.finish(within_seconds=guard_seconds)
        assert code == STOPPED, run.tail()
    journal = read_journal(run.run_folder / "events.jsonl")
    saved = _last_saved(journal)
    return Disturbed(run.run_folder, injected, journal, saved.step, saved.parameter_hash, before, after)


def undisturbed_hash(
    folder: Path, steps: int, tables: Mapping[str, Mapping[str, Any]], *, guard_seconds: float = GUARD_SECONDS
) -> str:
    """Parameter hash after exactly `steps` steps of the same run, left in peace."""
    config = write_tiny_config(folder, steps=steps, extra=tables)
    with RunProcess(config, folder, name="undisturbed") as run:
        code = run.finish(within_seconds=guard_seconds + steps)  # a second for a step of some milliseconds
        assert code == 0, run.tail()
    last = _last_saved(read_journal(run.run_folder / "events.jsonl"))
    assert last.step == steps
    return last.parameter_hash


def report_on(
    folder: Path,
    script: FaultScript,
    tables: Mapping[str, Mapping[str, Any]],
    *,
    compare: bool = True,
    spares: int = 0,
    guard_seconds: float = GUARD_SECONDS,
    meanwhile: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Disturb a run in `folder`, each time once that many spares are ready, compare it with its twin, and report.

    `meanwhile` gets the report before the twin runs, which may take as long as everything before it.
    """
    began = time.monotonic()
    done = disturb(folder / "disturbed", script, tables, spares=spares, guard_seconds=guard_seconds)
    wall_seconds = time.monotonic() - began
    report = Report(
        recoveries(done.injected, done.journal),
        rolled_back_steps(done.journal),
        repeated_steps(done.journal),
        audit(history(done.journal), order_of(done.folder)),
        None,
        done.before,
        done.after,
        wall_seconds,
    )
    if not compare:
        return report
    meanwhile(report)
    quiet = undisturbed_hash(folder / "quiet", done.stopped_at, tables, guard_seconds=guard_seconds)
    return replace(report, same_hash=quiet == done.parameter_hash)


def _last_saved(journal: list[Envelope]) -> CheckpointWritten:
    return [envelope.event for envelope in journal if isinstance(envelope.event, CheckpointWritten)][-1]
