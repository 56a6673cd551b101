"""The coordinator's process of a real run, killed at random moments while its workers live.

    python -m tests.chaos.coordinators --kills 20
    python -m tests.chaos.coordinators --kills 100 --workers 4 --no-compare

Prints the time to the next commit after each; exit code 0 when no step was rolled back, no sample was lost or doubled,
and the parameters equal those of a run that was left in peace.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.disturbed import report_on, settings
from tests.chaos.script import Kind, random_script
from tests.support.run_process import clean_up_when_terminated


def main() -> int:
    """Run it, print the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.coordinators")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=64, help="width of the model: how long a step takes")
    parser.add_argument("--steps-between", type=int, default=20, help="at most this many, once the run is whole")
    parser.add_argument("--no-compare", action="store_true", help="leave out the undisturbed run")
    parser.add_argument("--folder", type=Path, help="keep everything there; default: a temporary folder")
    args = parser.parse_args()
    clean_up_when_terminated()
    script = random_script(
        args.seed,
        count=args.kills,
        workers=args.workers,
        kinds=[Kind.COORDINATOR],
        most_steps_between=args.steps_between,
    )
    tables = settings(args.workers, hidden=args.hidden, layers=2, spare=0)
    with tempfile.TemporaryDirectory(prefix="mlxd-coordinators-") as temporary:
        report = report_on(args.folder or Path(temporary), script, tables, compare=not args.no_compare)
    print(report)
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
