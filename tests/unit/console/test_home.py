"""Commands about a run's files are run where its folder lies; a shell stands in for ssh."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from console.client.commands import Done, executed
from console.client.feeds import FolderFeed
from console.client.home import HomeHere, HomeOfSocket, HomeOverThere
from console.client.hosts import LineFeed, remote_target
from console.client.line import Greeting
from console.client.ssh_target import Ssh, SshTarget
from console.client.targets import Target
from console.client.wire import Unreachable
from runtime.events import CheckpointWritten
from runtime.ids import Step
from tests.support.sshd import COMMAND
from tests.unit.console.seats import console, in_console, until, written
from tests.unit.view.told import begun, steps

LAST = ("sh", "-c", 'for last; do :; done; exec sh -c "$last"')
"""An ssh to this very machine: it runs its last word by a shell, as the far end would."""


def greeted(folder: Path, ssh: Ssh) -> Target:
    far = remote_target("ssh://studio", ssh)
    assert isinstance(far.feed, LineFeed)
    far.feed.line.greeting = Greeting("9.9.9", str(folder), 0.0, 0.005, may_act=False)
    return far


def test_a_command_over_there_is_one_word_for_ssh_and_its_names_are_quoted() -> None:
    words = Ssh(remote_command="uv run mlx-distributed").over_there(
        SshTarget("lab", port=7), ("checkpoints", "verify", "/home/kim/my runs/a; rm -rf x")
    )
    assert words[-3:] == [
        "--", "lab", "uv run mlx-distributed checkpoints verify '/home/kim/my runs/a; rm -rf x'",
    ]  # fmt: skip
    assert words[words.index("-p") :][:2] == ["-p", "7"]
    assert "BatchMode=yes" in words


def test_a_command_is_run_in_the_folder_that_the_far_end_named(tmp_path: Path) -> None:
    run = written(tmp_path / "my run", begun())
    home = greeted(run, Ssh(LAST, COMMAND)).home
    assert isinstance(home, HomeOverThere)
    done = asyncio.run(home.command("checkpoints", "list", "--json"))
    assert (done.code, json.loads(done.out)) == (0, [])
    assert home.by_hand("mlx-distributed run a.toml").endswith(" studio mlx-distributed run a.toml")


def test_a_far_end_that_refuses_or_has_not_answered_is_a_sentence() -> None:
    silent = remote_target("ssh://studio", Ssh(LAST)).home
    assert silent is not None
    assert silent.folder == ""
    assert asyncio.run(silent.command("checkpoints", "list")).sentence == "studio has not answered yet"
    looking = greeted(Path("/r"), Ssh(("sh", "-c", "echo 'error: this key may only look at runs' >&2; exit 2"))).home
    assert looking is not None
    assert asyncio.run(looking.command("checkpoints", "list")).sentence == "this key may only look at runs"
    assert asyncio.run(executed(["/nowhere/ssh"])).sentence.startswith("/nowhere/ssh cannot be started")


def test_here_nothing_is_between(tmp_path: Path) -> None:
    home = HomeHere(written(tmp_path / "tiny", begun()))
    assert (asyncio.run(home.command("checkpoints", "list", "--json")).code, home.is_far) == (0, False)
    assert home.by_hand("a b") == "a b"


def test_a_socket_whose_monitor_does_not_answer_has_no_folder() -> None:
    async def nowhere() -> str:
        raise Unreachable("nobody is there")

    home = HomeOfSocket(nowhere)
    assert asyncio.run(home.command("checkpoints", "list")) == Done(1, "", "nobody is there")
    assert (home.folder, home.by_hand("a b")) == ("", "a b")


def test_the_checkpoints_of_a_run_over_there_are_verified_over_there_and_resumed_by_an_ssh(tmp_path: Path) -> None:
    written_one = CheckpointWritten(Step(4), "checkpoints/step-00000004", 1000, 0.1, "c0ffee")
    run = written(tmp_path / "tiny", [*begun(), *steps(1, 4), written_one])
    home = greeted(run, Ssh(LAST, COMMAND)).home
    far = Target("ssh://studio/tiny", FolderFeed(run, lambda: False), None, home=home)

    async def look() -> None:
        async with console(far, size=(160, 30)) as (app, pilot):
            await pilot.press("4")
            told = await until(app, pilot, "resume ")
            assert "studio mlx-distributed run" in told
            assert "/tiny/config.toml" in told
            await pilot.press("v")
            await until(app, pilot, "has no checkpoints")  # said by the command over there

    in_console(look)
