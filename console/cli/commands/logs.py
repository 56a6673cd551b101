"""`mlx-distributed logs RUN`: the lines of all its processes, merged by time, from its folder alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.view.logs import LogLine, Wanted

HELP = "what the processes of a run say, merged by time; -f follows"

LEVELS = ("debug", "info", "warning", "error", "critical")
LOOK_SECONDS = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, which lines, and the form of the answer."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, e.g. runs/quickstart; it may be running")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until the run ends")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="the newest N first (default 100)")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="this one and worse")
    parser.add_argument("--worker", type=int, metavar="RANK", help="only this worker's")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME",
        help="only this process's, as coordinator; repeatable",
    )
    parser.add_argument("--grep", metavar="REGEX", help="only lines in which this regular expression is found")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print them. Raises UsageError for what is no run, or for a bad regular expression."""
    import time

    from runtime.app.run_lock import owner_of
    from runtime.errors import UsageError
    from runtime.view.logfiles import LogFiles

    if not (args.run / "events.jsonl").is_file() and not (args.run / "logs").is_dir():
        raise UsageError(f"{args.run} is no run: it has no logs; RUN is a run's folder, e.g. runs/quickstart")
    files = LogFiles(args.run, wanted(args))
    _print(files.begin_with_newest(max(0, args.lines)), as_json=args.json)
    while args.follow:
        lives = owner_of(args.run) is not None  # asked before the files are read: what it said last is in them
        fresh = files.fresh()
        _print(fresh, as_json=args.json)
        if not fresh and not lives:
            break
        if not fresh:
            time.sleep(LOOK_SECONDS)
    return 0


def wanted(args: argparse.Namespace) -> Wanted:
    """Which lines the command line asks for. Raises UsageError for a bad regular expression."""
    import re

    from runtime.errors import UsageError
    from runtime.view.logs import Wanted

    sources = [*args.source, *([] if args.worker is None else [f"worker-{args.worker}"])]
    try:
        pattern = re.compile(args.grep) if args.grep else None
    except re.error as wrong:
        raise UsageError(f"--grep {args.grep!r} is no regular expression: {wrong}") from wrong
    return Wanted(args.level, pattern, frozenset(sources))


def _print(lines: list[LogLine], *, as_json: bool) -> None:
    from dataclasses import asdict

    from console.state.figures import harmless

    for line in lines:
        print(json.dumps(asdict(line)) if as_json else f"{line.source:<12} {harmless(line.text)}", flush=True)
