"""`mlx-distributed alarms RUN`: what a person should know of a run, with the cause, the next move and its command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.view.cards import AlarmCard, RunView

HELP = "what is wrong with a run: cause, fix and the command that does it"

QUIET, OPEN = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and the form of the answer."""
    parser.add_argument(
        "run", metavar="TARGET", help="a run's folder, also of one that is over; or ssh://[user@]host[/run]"
    )
    parser.add_argument("--all", action="store_true", help="also those that are mended or that somebody has seen")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if a warning or worse is open")
    parser.add_argument("--json", action="store_true", help="one JSON object per alarm, instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print them. Raises UsageError if RUN has no journal, RunFolderError if it cannot be read."""
    from dataclasses import asdict

    from console.cli.targets import done, is_folder, seen

    view, now = looked_at(Path(args.run)) if is_folder(args.run) else done(seen(args.run))
    cards = list(view.alarms.values()) if args.all else list(view.open_alarms)
    for card in cards:
        print(json.dumps(asdict(card)) if args.json else "\n".join(lines(card, now)))
    if not cards and not args.json:
        print("no alarm")
    return OPEN if args.exit_code and any(card.level != "info" for card in view.open_alarms) else QUIET


def looked_at(run_folder: Path) -> tuple[RunView, float]:
    """The picture of a run, and the Unix time that it is of: now for one that lives, else that of its last fact.

    Raises UsageError if the folder has no journal, RunFolderError if that cannot be read.
    """
    import time

    from runtime.app.run_lock import owner_of
    from runtime.app.watching.sampling import Sampler
    from runtime.errors import RunFolderError, UsageError
    from runtime.events.replay import replay
    from runtime.view.build import view_of

    journal = run_folder / "events.jsonl"
    if not journal.is_file():
        raise UsageError(f"{run_folder} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart")
    try:
        state, _ = replay(journal)
    except OSError as error:
        raise RunFolderError(f"{journal} cannot be read: {error.strerror}") from error
    lives = owner_of(run_folder) is not None
    now = time.time() if lives else state.wall_seconds
    gauges = Sampler(run_folder).sample([], {}) if lives else None
    return view_of(state, now, gauges, folder=str(run_folder)), now


def lines(card: AlarmCard, now_seconds: float) -> list[str]:
    """An alarm for a person: what, since when, where; then what to do. Nothing in it can steer a terminal."""
    from console.state.figures import clean, duration

    where = f" on {card.host}" if card.host else ""
    again = f", {card.seen} times" if card.seen > 1 else ""
    word = "mended" if card.is_mended else f"seen by {card.acknowledged_by}" if card.acknowledged_by else card.level
    age = duration(max(0.0, now_seconds - card.since_seconds))
    told = [f"{word}: {card.subject}{where}: {card.cause} (since {age}{again})"]
    if card.fix:
        told.append(f"  fix: {card.fix}")
    if card.command:
        told.append(f"  run: {card.command}")
    return [f"  {clean(line)}" if line.startswith("  ") else clean(line) for line in told]
