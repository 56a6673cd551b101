"""A real run through hundreds of mixed faults, against the same run in peace and against restarting everything.

    python -m tests.chaos.mixed --faults 300 --every 15 --workers 3 --seed 1
    python -m tests.chaos.mixed --faults 300 --every 15 --workers 3 --seed 1 --restart-everything --json mixed.json

What is done: tests/chaos/mixture.py. Half of the faults wait until the run is whole, half come when their time has
come. Kinds that this machine does not allow are left out, and named. Exit code 0 when no step was rolled back, no
sample was lost or doubled, and the final loss is within 1 % of the quiet run's.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

from tests.chaos.disk import cannot_mount
from tests.chaos.disturbed import settings
from tests.chaos.ledger import history
from tests.chaos.links import cannot_cut
from tests.chaos.mixed_report import MixedReport, report_on
from tests.chaos.mixture import Ailment, mixture
from tests.chaos.ordeal import endure, in_peace, restart_everything
from tests.support.run_process import clean_up_when_terminated
from tests.support.tiny import write_sums


def cannot_limit() -> str:
    """Why the memory of a living process cannot be limited here; empty where it can."""
    return "" if hasattr(resource, "prlimit") else "only Linux limits a living process from outside"


_ONLY_WHERE = {
    Ailment.SEVER: cannot_cut,
    Ailment.FLAP: cannot_cut,
    Ailment.SESSION: cannot_cut,
    Ailment.DISK: cannot_mount,
    Ailment.MEMORY: cannot_limit,
}


def possible(wanted: list[Ailment], workers: int) -> tuple[list[Ailment], dict[str, str]]:
    """The kinds that can be dealt here, and why the others cannot."""
    left_out: dict[str, str] = {}
    for kind in wanted:
        why = _ONLY_WHERE[kind]() if kind in _ONLY_WHERE else ""
        if not why and kind.victims > workers:
            why = "it takes two workers"
        if why:
            left_out[kind.name.lower()] = why
    return [kind for kind in wanted if kind.name.lower() not in left_out], left_out


def run(args: argparse.Namespace, folder: Path) -> MixedReport:
    """All the runs that were asked for, one after the other."""
    names = args.kinds.split(",") if args.kinds else [kind.name.lower() for kind in Ailment]
    kinds, left_out = possible([Ailment[name.strip().upper()] for name in names], args.workers)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    blows = mixture(args.seed, faults=args.faults, every=args.every, workers=args.workers, kinds=kinds)
    tables = settings(args.workers, hidden=args.hidden, layers=2, spare=args.spare, every=args.checkpoint_every)
    folder.mkdir(parents=True, exist_ok=True)
    tables["data"] = {"source": [{"path": str(write_sums(folder / "sums.jsonl", args.samples))}]}
    faulty = endure(folder / "faulty", blows, tables)
    steps = max(history(faulty.journal))
    quiet = None if args.no_quiet else in_peace(folder / "quiet", steps, tables)
    restarted = restart_everything(folder / "restarted", faulty, tables) if args.restart_everything else None
    return report_on(faulty, quiet, restarted, left_out)


def main() -> int:
    """Run it, print the report, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mixed")
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--every", type=float, default=15.0, help="seconds from one fault to the next, in the mean")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="", help=f"of {','.join(kind.name.lower() for kind in Ailment)}; all")
    parser.add_argument("--spare", type=int, default=1, help="supervision.spare")
    parser.add_argument("--hidden", type=int, default=64, help="width of the model: how long a step takes")
    parser.add_argument("--samples", type=int, default=20_000, help="of an epoch: enough that the loss stays above 0")
    parser.add_argument("--checkpoint-every", type=int, default=50, help="steps; what a restart goes back to")
    parser.add_argument("--restart-everything", action="store_true", help="compare with it")
    parser.add_argument("--no-quiet", action="store_true", help="leave out the run in peace")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, as one JSON object")
    parser.add_argument("--folder", type=Path, help="keep everything there; default: a temporary folder")
    args = parser.parse_args()
    clean_up_when_terminated()
    with tempfile.TemporaryDirectory(prefix="mlxd-mixed-") as temporary:
        report = run(args, args.folder or Path(temporary))
    print(report)
    if args.json:
        args.json.write_text(json.dumps(report.figures(), indent=2) + "\n")
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
