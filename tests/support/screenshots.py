"""Pictures of the console, of a real run with a kill in it: `python -P -m tests.support.screenshots`, by hand.

It trains the quickstart, kills a worker, and while the run goes on opens every screen in every size and theme, with a
real sshd beside it as another machine. tests/fixtures/screens gets an SVG of each; README shows some of them as PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from textual.pilot import Pilot

from console.app import ConsoleApp
from console.cli.commands.console import target_of
from console.client.hosts import remote_target
from console.client.ssh_target import Ssh
from console.client.targets import Targets
from console.state.tabs import TABS
from console.state.terminal import Terminal, ThemeName
from console.widgets.sheet import Sheet
from runtime.events import RunState, fold_all
from runtime.events.replay import JournalReader
from runtime.ids import Rank
from tests.support.pictures import picture
from tests.support.repository import ROOT
from tests.support.sshd import COMMAND, Server, sshd
from tests.unit.console.seats import settled, shown, until

SCREENS = ROOT / "tests" / "fixtures" / "screens"
Variant: TypeAlias = tuple[int, int, ThemeName]
VARIANTS: tuple[Variant, ...] = (
    (100, 30, "dark"), (100, 30, "light"), (80, 24, "dark"), (80, 24, "light"),
)  # fmt: skip
SHOWN = ("overview", "run", "config")
"""README shows these at 100x30, dark, as PNG: a page of a repository may have no font that draws an SVG's letters."""
KILL_AT_STEP = 60
LAB = Path("/tmp/lab")
"""Short, because it stands in pictures; whoever has a folder there already is not overwritten."""


@contextmanager
def quickstart(folder: Path) -> Iterator[Path]:
    """The quickstart as README starts it, in a folder of its own; its run's folder."""
    shutil.copy(ROOT / "configs" / "quickstart.toml", folder)
    shutil.copytree(ROOT / "configs" / "data", folder / "data")
    words = [COMMAND, "run", "quickstart.toml", "--progress", "none"]
    process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL)
    try:
        yield folder / "runs" / "quickstart"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


@contextmanager
def machine(folder: Path, run_home: Path) -> Iterator[Server]:
    """A server whose logins land in `run_home`, and a client's folder with `ssh`, which knows it as `studio`."""
    path = f"{Path(COMMAND).parent}:{os.environ['PATH']}"
    with sshd(folder, SetEnv=f"PATH={path}") as server:
        server.allow(f'command="cd {run_home} && exec sh -c \\"$SSH_ORIGINAL_COMMAND\\""')
        words = server.client(HostKeyAlias=f"[127.0.0.1]:{server.port}")
        config = folder / "client.config"
        config.write_text(f"Host studio\n  HostName 127.0.0.1\n  Port {server.port}\nHost *\n" + config.read_text())
        client = folder / "bin" / "ssh"
        client.parent.mkdir()
        client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {" ".join(words[1:])} "$@"\n')
        client.chmod(0o755)
        os.environ["PATH"] = f"{client.parent}:{os.environ['PATH']}"
        yield server


def state_of(run: Path) -> RunState:
    """What has happened so far."""
    journal = run / "events.jsonl"
    return fold_all(JournalReader(journal)) if journal.is_file() else RunState()


async def reached(run: Path, wanted: Callable[[RunState], bool]) -> RunState:
    """Look again until it is so."""
    while not wanted(state := state_of(run)):  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(0.5)
    return state


async def pictures(folder: Path, run: Path, into: Path, only: str) -> None:
    """A console looks on while a worker is killed; each screen is shown in every size and theme."""
    await reached(run, lambda state: state.training.step > 0)
    targets = [
        target_of("runs/quickstart", operate=True),
        remote_target("ssh://studio/runs/quickstart", Ssh()),
        remote_target("ssh://kim@rtx-box.invalid", Ssh()),
    ]
    app = ConsoleApp(Targets(targets), Terminal("dark", True), config=folder / "quickstart.toml")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(app, pilot, "LIVE")
        state = await reached(run, lambda state: state.training.step >= KILL_AT_STEP)
        os.kill(state.workers[Rank(1)].pid, signal.SIGKILL)
        for tab in TABS:
            if only in tab.name:
                await pilot.press(tab.key)
                await _settled_on(app, pilot, tab.name)
                for width, height, theme in VARIANTS:
                    await pilot.resize_terminal(width, height)
                    app.theme = theme
                    app.tick()
                    await settled(pilot)
                    (into / f"{tab.name}-{width}x{height}-{theme}.svg").write_text(picture(app))
                await pilot.resize_terminal(100, 30)
                print(tab.name, file=sys.stderr)


async def _settled_on(app: ConsoleApp, pilot: Pilot[None], name: str) -> None:
    """Wait until the screen has what belongs on it."""
    await until(app, pilot, f"{name.capitalize()}]")
    if name == "overview":
        await until(app, pilot, "1 restart")
        app.screen.query_one("#tree", Sheet).choose("run/node/worker-1")
    elif name == "run":
        await until(app, pilot, "checkpoint")
    elif name == "config":
        app.screen.query_one("#form", Sheet).focus()
        while "being made" in shown(app):
            await pilot.pause(0.1)
        app.screen.query_one("#form", Sheet).choose("optim.lr")
    elif name == "checkpoints":
        await until(app, pilot, "committed")
        await pilot.press("v")
        await until(app, pilot, "to the last byte")
        app.clear_notifications()
    elif name == "hosts":
        await until(app, pilot, "2/3 connected")
        await pilot.press("down", "c")
        await until(app, pilot, "10 ok")
    app.tick()
    await settled(pilot)


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--into", type=Path, default=SCREENS)
    parser.add_argument("--only", default="", help="name of a screen")
    args = parser.parse_args()
    into = args.into.resolve()
    into.mkdir(parents=True, exist_ok=True)
    LAB.mkdir(mode=0o700)
    try:
        os.chdir(LAB)
        with quickstart(LAB) as run, machine(LAB / "sshd", LAB):
            asyncio.run(pictures(LAB, run, into, args.only))
        for name in SHOWN:
            svg = into / f"{name}-100x30-dark.svg"
            if args.only in name:
                subprocess.run(["rsvg-convert", "-z", "1.25", svg, "-o", svg.with_suffix(".png")], check=True)
    finally:
        shutil.rmtree(LAB)


if __name__ == "__main__":
    main()
