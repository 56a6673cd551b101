"""`mlx-distributed logs RUN`: the lines of all its processes, merged by time, from its folder alone."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.view.cards import RunView
    from runtime.view.logs import LogLine, Wanted

HELP = "what the processes of a run say, merged by time; -f follows"

LEVELS = ("debug", "info", "warning", "error", "critical")
LOOK_SECONDS = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, which lines, and the form of the answer."""
    parser.add_argument(
        "run", metavar="TARGET", help="a run's folder, also of one that is over; or ssh://[user@]host[/run]"
    )
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
    parser.add_argument("--host", metavar="NAME", help="only of processes on this machine of the run")
    parser.add_argument("--grep", metavar="REGEX", help="only lines in which this regular expression is found")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print them. Raises UsageError for what is no run, or for a bad regular expression."""
    import time

    from console.cli.targets import done, is_folder
    from runtime.app.run_lock import owner_of
    from runtime.errors import UsageError
    from runtime.view.logfiles import LogFiles

    if not is_folder(args.run):
        done(_tail(args, wanted(args)))
        return 0
    folder = Path(args.run)
    if not (folder / "events.jsonl").is_file() and not (folder / "logs").is_dir():
        raise UsageError(f"{folder} is no run: it has no logs; RUN is a run's folder, e.g. runs/quickstart")
    which = wanted(args)
    if args.host:
        from console.cli.commands.alarms import looked_at

        which = replace(which, sources=on_host(args.host, looked_at(folder)[0], which.sources))
    files = LogFiles(folder, which)
    _print(files.begin_with_newest(max(0, args.lines)), as_json=args.json)
    while args.follow:
        lives = owner_of(folder) is not None  # asked before the files are read: what it said last is in them
        fresh = files.fresh()
        _print(fresh, as_json=args.json)
        if not fresh and not lives:
            break
        if not fresh:
            time.sleep(LOOK_SECONDS)
    return 0


async def _tail(args: argparse.Namespace, which: Wanted) -> None:
    """The same lines from the run's monitor."""
    from mlxd_wire import monitor_pb2 as pb

    from console.cli.targets import seen, tailed
    from runtime.view.logs import LogLine

    sources = which.sources
    if args.host:
        sources = on_host(args.host, (await seen(args.run))[0], sources)
    want = pb.LogWant(
        sources=sorted(sources),
        level=which.level,
        pattern=args.grep or "",
        newest=max(0, args.lines),
        follow=args.follow,
    )
    async for batch in tailed(args.run, want):
        _print(
            [LogLine(each.source, each.offset, each.text, each.level, each.wall_seconds) for each in batch.entries],
            as_json=args.json,
        )


def on_host(host: str, view: RunView, sources: frozenset[str]) -> frozenset[str]:
    """The processes on a machine of the run, of `sources` where some are named. Raises UsageError for another name."""
    from runtime.errors import UsageError

    workers = {f"worker-{card.rank}": card.host for card in view.workers.values() if card.host}
    others = dict.fromkeys(("coordinator", "monitor", "tracker", "spare"), view.run.host)
    hosts = {**others, **workers}
    known = sorted({each for each in hosts.values() if each})
    if host not in known:
        raise UsageError(f"--host {host}: the run is on {', '.join(known) or 'no machine that it has named yet'}")
    there = frozenset(source for source, where in hosts.items() if where == host)
    return there & sources if sources else there


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
