"""An action on a run as a command: proposed, told, committed; --dry-run ends after the telling."""

from __future__ import annotations

import argparse
import json

WHICH = "a live run's folder, unix:PATH of its control socket, or ssh://[user@]host[:port][/run]"


def add_arguments(parser: argparse.ArgumentParser, subject: str = "") -> None:
    """The run, whom it is about (where it is about somebody), and the form of the answer."""
    parser.add_argument("target", metavar="TARGET", help=WHICH)
    if subject:
        parser.add_argument("subject", metavar="ACTOR", help=subject)
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def act(args: argparse.Namespace, kind: str) -> int:
    """Do it, and say what was done. Raises RunError with the run's refusal."""
    from console.cli.targets import done

    effects, sentence = done(acted(args.target, kind, getattr(args, "subject", ""), is_dry=args.dry_run))
    if args.json:
        print(json.dumps({"action": kind, "effects": effects, "done": sentence}))
    else:
        print("\n".join(f"it would do this: {effect}" for effect in effects) if args.dry_run else sentence)
    return 0


async def acted(place: str, kind: str, subject: str, *, is_dry: bool = False) -> tuple[list[str], str]:
    """(what it would do, what was done). Raises RunError with the refusal, and what `reached` raises."""
    from console.cli.targets import reached
    from console.client.steer import Refused, commit, me, propose
    from console.client.wire import Unreachable
    from runtime.errors import RunError

    async with reached(place, operate=True) as run:
        try:
            proposal = await propose(run.control, kind, subject, by=me())
            sentence = "" if is_dry else await commit(run.control, proposal)
        except (Refused, Unreachable) as no:
            raise RunError(f"{place}: {no}") from no
    return list(proposal.effects), sentence
