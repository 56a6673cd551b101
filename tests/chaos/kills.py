"""Workers (and the coordinator) of a real run, hit at random moments.

    python -m tests.chaos.kills --workers 2 --kills 20
    python -m tests.chaos.kills --workers 4 --kills 100 --aim
    python -m tests.chaos.kills --workers 2 --kills 20 --kinds coordinator --hasty
    python -m tests.chaos.kills --workers 3 --kills 300 --kinds kill,segfault,stop,coordinator --no-compare

Which phase of the step a worker was in is its own last word (`ActorExited.phase`); `--aim` meets the short ones too.
Each fault waits until a spare is ready again, as in real life, unless `--hasty` says otherwise.
Prints the recovery from each fault, then medians, p99 and worst, also by phase; exit code 0 when no step was rolled
back, no sample was lost or doubled, and the parameters equal those of a run that was left in peace.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.disturbed import report_on, settings
from tests.chaos.report import IN_ORDER
from tests.chaos.script import Kind, random_script
from tests.support.run_process import clean_up_when_terminated


def main() -> int:
    """Run it, print the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20, help="faults altogether")
    parser.add_argument("--kinds", default="kill", help="of these, at random: kill,segfault,stop,coordinator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spare", type=int, default=1, help="supervision.spare")
    parser.add_argument("--hidden", type=int, default=64, help="width of the model: how long a step takes")
    parser.add_argument("--steps-between", type=int, default=10, help="at most this many, once the run is whole")
    parser.add_argument("--least-delay", type=float, default=0.0, help="at least this many seconds after a commit")
    parser.add_argument("--delay", type=float, default=0.25, help="at most this many seconds after a commit")
    parser.add_argument("--hasty", action="store_true", help="do not wait for a spare: most replacements start cold")
    parser.add_argument("--aim", action="store_true", help="at each phase of a step in turns, not at any moment")
    parser.add_argument("--no-compare", action="store_true", help="leave out the undisturbed run")
    parser.add_argument("--folder", type=Path, help="keep everything there; default: a temporary folder")
    args = parser.parse_args()
    clean_up_when_terminated()
    script = random_script(
        args.seed,
        count=args.kills,
        workers=args.workers,
        kinds=[Kind(name) for name in args.kinds.split(",")],
        most_steps_between=args.steps_between,
        least_delay_seconds=args.least_delay,
        most_delay_seconds=args.delay,
        phases=IN_ORDER if args.aim else (),
    )
    tables = settings(args.workers, hidden=args.hidden, layers=2, spare=args.spare)
    with tempfile.TemporaryDirectory(prefix="mlxd-kills-") as temporary:
        folder, spares = args.folder or Path(temporary), 0 if args.hasty else args.spare
        report = report_on(
            folder, script, tables, compare=not args.no_compare, spares=spares,
            meanwhile=lambda so_far: print(f"{so_far}\n\nnow the undisturbed run", file=sys.stderr, flush=True),
        )  # fmt: skip
    print(report)
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
