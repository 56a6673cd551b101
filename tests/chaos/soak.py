"""A real run for hours, with a fault every few minutes: does anything grow, does it become slower?

    python -m tests.chaos.soak --hours 2 --fault-every 180 --json soak.json

Prints resident memory (with its slope), descriptors and threads of every process that lived for at least a tenth of the
time, and the step time by quarter of an hour. Exit code 0 when no step was rolled back while somebody held it, and
every sample was trained on exactly once; whether a slope is a leak is for the reader.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.events import Envelope, StepCommitted
from tests.chaos.disturbed import settings
from tests.chaos.lives import Life, Look, lives, look
from tests.chaos.mixed import possible
from tests.chaos.mixed_report import MixedReport, report_on
from tests.chaos.mixture import Ailment, mixture
from tests.chaos.ordeal import Tables, endure
from tests.chaos.recovery import Spread, spread
from tests.support.run_process import RunProcess, clean_up_when_terminated

QUARTER_SECONDS = 900.0
LOOK_SECONDS = 5.0


class Watch:
    """Looks at a run's processes every few seconds."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._next = 0.0

    def __call__(self, run: RunProcess) -> None:
        """Look, if it is time to."""
        now = time.time()
        if now >= self._next:
            self._next = now + LOOK_SECONDS
            self.looks += look(run.alive(), now)


@dataclass(frozen=True)
class Soaked:
    """What the hours came to."""

    lives: list[Life]
    quarters: list[tuple[int, Spread]]
    """Steps of each quarter of an hour, and what they took."""
    report: MixedReport

    def figures(self) -> dict[str, Any]:
        """As plain JSON values."""
        quarters = [{"steps": steps, **asdict(seconds)} for steps, seconds in self.quarters]
        return {"lives": [asdict(life) for life in self.lives], "quarters": quarters, **self.report.figures()}

    def __str__(self) -> str:
        kinds = Counter(one.struck.blow.kind.value for one in self.report.after)
        lines = [str(life) for life in self.lives]
        lines += [f"quarter {n:<4} {steps:>7} steps, {seconds}" for n, (steps, seconds) in enumerate(self.quarters, 1)]
        lines += [f"{'faults':<12} {', '.join(f'{count} x {kind}' for kind, count in kinds.most_common())}"]
        lines += [f"{name:<28} {found or 'never'}" for name, found in self.report.milestones().items()]
        lines += [f"{'ledger':<12} {self.report.audit}", f"{'audit':<12} {self.report.verdict}"]
        return "\n".join(lines)


def quarters(journal: Sequence[Envelope], seconds: float = QUARTER_SECONDS) -> list[tuple[int, Spread]]:
    """The step times of each quarter of an hour since the first commit; a quarter without a commit is left out."""
    found: dict[int, list[float]] = {}
    began: float | None = None
    for envelope in journal:
        if isinstance(envelope.event, StepCommitted):
            began = envelope.wall_seconds if began is None else began
            found.setdefault(int((envelope.wall_seconds - began) // seconds), []).append(envelope.event.seconds)
    return [(len(times), taken) for _, times in sorted(found.items()) if (taken := spread(times)) is not None]


def soak(folder: Path, args: argparse.Namespace, tables: Tables) -> Soaked:
    """Endure faults for as long as was asked."""
    kinds, left_out = possible(list(Ailment), args.workers)
    faults = max(1, math.floor(args.hours * 3600 / args.fault_every))
    blows = mixture(args.seed, faults=faults, every=args.fault_every, workers=args.workers, kinds=kinds)
    watch = Watch()
    done = endure(folder, blows, tables, watch=watch)
    long = lives(watch.looks, at_least_seconds=0.1 * (done.last_wall_seconds - done.first_wall_seconds))
    return Soaked(long, quarters(done.journal), report_on(done, None, None, left_out))


def main() -> int:
    """Run it, print what was found, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--fault-every", type=float, default=180.0, metavar="SECONDS", help="in the mean")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=256, help="width of the model: how long a step takes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, as one JSON object")
    parser.add_argument("--folder", type=Path, help="keep everything there; default: a temporary folder")
    args = parser.parse_args()
    clean_up_when_terminated()
    tables = settings(args.workers, hidden=args.hidden, layers=2, every=100)
    with tempfile.TemporaryDirectory(prefix="mlxd-soak-") as temporary:
        soaked = soak(args.folder or Path(temporary), args, tables)
    print(soaked)
    if args.json:
        args.json.write_text(json.dumps(soaked.figures(), indent=2) + "\n")
    return 0 if soaked.report.held else 1


if __name__ == "__main__":
    sys.exit(main())
