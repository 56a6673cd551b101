"""python -m tests.virtual [FIRST [COUNT]]: play seeds, print what struck and what broke."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.virtual.history import history_of, parted_history_of, sharded_history_of
from tests.virtual.ledger import Violation
from tests.virtual.run import play


def main() -> int:
    """Returns 1 when some seed broke an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.virtual", description=__doc__)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("--journal", action="store_true", help="print each run's journal")
    told_by = parser.add_mutually_exclusive_group()
    told_by.add_argument("--sharded", action="store_true", help="with a sharded optimizer")
    told_by.add_argument("--parted", action="store_true", help="with workers on other machines than the disk")
    parser.add_argument("--stop", action="store_true", help="stop at the first seed that breaks an invariant")
    args = parser.parse_args()
    told = sharded_history_of if args.sharded else parted_history_of if args.parted else history_of
    struck: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    commits, rollbacks, failures, began = 0, 0, [], time.perf_counter()
    for seed in range(args.first, args.first + args.count):
        try:
            report = play(told(seed))
        except Violation as broken:
            failures.append(seed)
            words = str(broken)
            print(f"seed {seed}: {words if args.stop else words.partition(chr(10))[0]}", flush=True)
            if args.stop:
                break
            continue
        struck += report.struck
        outcomes[report.outcome] += 1
        commits, rollbacks = commits + report.commits, rollbacks + report.rollbacks
        if args.journal:
            print("\n".join((told(seed).script(), *report.journal)))
    seconds = time.perf_counter() - began
    print(f"{args.count} seeds in {seconds:.1f} s; {commits} commits, {rollbacks} rollbacks; outcomes {dict(outcomes)}")
    for kind, count in sorted(struck.items()):
        print(f"{count:8d}  {kind}")
    print(f"{len(failures)} failures: {failures[:50]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
