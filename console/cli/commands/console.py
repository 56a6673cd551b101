"""`mlx-distributed console`: look at runs, and steer them, in this terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.client.targets import Target

HELP = "look at a run and steer it, in this terminal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look at, and what may be done."""
    about = "a run's folder, e.g. runs/quickstart, unix:SOCKET, ssh://HOST, or a .toml file to edit, plan and launch"
    parser.add_argument("target", nargs="?", metavar="RUN|CONFIG", help=about)
    parser.add_argument(
        "--attach",
        action="append",
        default=[],
        metavar="TARGET",
        help="one more run to look at, also unix:SOCKET or ssh://[user@]host[:port][/run]; repeatable",
    )
    parser.add_argument("--replay", type=Path, metavar="RUN", help="go through a run's journal from its beginning")
    parser.add_argument("--operate", action="store_true", help="allow what changes a run")
    parser.add_argument(
        "--remote-command", default="", metavar="PATH", help="what is mlx-distributed on other machines"
    )
    parser.add_argument("--theme", choices=("dark", "light", "ansi"), help="default: what the terminal says of itself")
    parser.add_argument("--ascii", action="store_true", help="no box drawing, blocks or braille")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")


def run(args: argparse.Namespace) -> int:
    """Until the user leaves. Raises UsageError without a terminal, or for what is no run."""
    import os
    import sys
    from functools import partial

    from runtime.errors import UsageError

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("the console needs a terminal; for scripts there is `mlx-distributed status RUN --json`")
    config = Path(args.target) if args.target and args.target.endswith(".toml") else None
    run_named = args.target if config is None else None
    reach = partial(target_of, remote_command=args.remote_command)
    mine = args.operate or (run_named is not None and owns(Path(run_named)))
    targets = [reach(run_named, operate=mine)] if run_named else []
    targets += [reach(place, operate=args.operate) for place in args.attach]
    targets += [replay_of(args.replay)] if args.replay else []
    for target in targets:
        asked_before_the_screen(target)

    from console.app import ConsoleApp
    from console.client.targets import Targets
    from console.state.terminal import terminal_of
    from console.terminal import TerminalDriver

    terminal = terminal_of(os.environ, sys.stderr.encoding or "ascii")
    terminal = terminal._replace(
        theme=args.theme or terminal.theme, has_unicode=terminal.has_unicode and not args.ascii
    )
    app = ConsoleApp(
        Targets(targets),
        terminal,
        config=config,
        open_target=lambda place, is_own: reach(place, operate=is_own or args.operate or owns(Path(place))),
        driver_class=TerminalDriver,
    )
    app.run(mouse=not args.no_mouse)
    if app.farewell:
        print(app.farewell)
    return app.return_code or 0


def owns(folder: Path) -> bool:
    """Whether the run belongs to the user of this console, who may steer it then."""
    import os

    try:
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def replay_of(folder: Path) -> Target:
    """A run's past. Raises UsageError for what is no run."""
    from console.client.replay import ReplayFeed
    from console.client.targets import Target
    from runtime.errors import UsageError

    if not (folder / "events.jsonl").is_file():
        raise UsageError(f"{folder} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart")
    return Target(str(folder), ReplayFeed(folder), folder)


def target_of(place: str, *, operate: bool, remote_command: str = "") -> Target:
    """A run as the user names it: a folder, a control socket, or a machine over ssh.

    Raises UsageError for what is none of them, RunFolderError for a socket that is not there.
    """
    import os

    from console.cli.reaching import ssh_from
    from console.cli.targets import local_address
    from console.client.feeds import FolderFeed, control_in
    from console.client.hosts import remote_target
    from console.client.ssh_target import SCHEME, UNIX, NotATarget
    from console.client.targets import Target
    from runtime.app.run_lock import owner_of
    from runtime.errors import UsageError

    if place.startswith(SCHEME):
        try:
            return remote_target(place, ssh_from(os.environ, remote_command, operate=operate))
        except NotATarget as wrong:
            raise UsageError(str(wrong)) from wrong
    if place.startswith(UNIX):
        return socket_target(place, local_address(place), operate=operate)
    folder = Path(place).expanduser()
    if not (folder / "run.pid").is_file() and not (folder / "events.jsonl").is_file():
        raise UsageError(f"{place} is no run: it has no events.jsonl; RUN is a run's folder, e.g. runs/quickstart")
    return Target(
        place,
        FolderFeed(folder, lambda: owner_of(folder) is not None),
        folder,
        operate,
        control_in(folder),
        come_back=f"mlx-distributed console {place}",
    )


def socket_target(place: str, address: str, *, operate: bool) -> Target:
    """The run whose control socket is at `address`: followed while it lives, and its folder is not asked."""
    from console.cli.targets import monitor_at
    from console.client.feeds import StreamFeed
    from console.client.home import HomeOfSocket
    from console.client.targets import Target

    async def control() -> str:
        return address

    where = monitor_at(address)
    come_back = f"mlx-distributed console --attach {place}{' --operate' if operate else ''}"
    home = HomeOfSocket(where)
    return Target(place, StreamFeed(where), None, operate, control, where=where, home=home, come_back=come_back)


def asked_before_the_screen(target: Target) -> None:
    """Let ssh ask what it must (an unknown host key, a passphrase) while the terminal is still the shell's."""
    from console.cli.reaching import ask_in_terminal, has_question
    from console.client.hosts import line_of

    line = line_of(target)
    if line is not None and has_question(line.target, line.ssh):
        ask_in_terminal(line.target, line.ssh)
