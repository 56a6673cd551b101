"""The Hosts screen: targets as a table, the way to each, adding and letting go; no network is touched."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input

from console.app import ConsoleApp
from console.cli.commands.console import target_of
from console.client.hosts import LineFeed, line_of, remote_target
from console.client.line import Greeting
from console.client.ssh_target import NotATarget, Ssh
from console.client.targets import Target, Targets
from console.state.hosts import HostRow, Step, host_table, step_lines, transcript_lines
from console.state.spans import text_of
from console.state.terminal import Terminal
from runtime.errors import UsageError
from tests.unit.console.seats import console, in_console, target, until, written
from tests.unit.view.told import begun, steps

DEAF = Ssh(("sh", "-c", "echo 'ssh: connect to host lab port 22: Connection refused' >&2; exit 255"))
"""An ssh that answers at once, and touches no network."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "tiny", [*begun(), *steps(1, 4)])


def texts(lines: object) -> list[str]:
    return [text_of(each).rstrip() for each in lines]  # type: ignore[attr-defined]  # lines are a list of spans


def row(**changes: object) -> HostRow:
    plain = HostRow("ssh://lab", "ssh", "live", 0.2, False, "0.4.1", 0.0123, "sft running", 1300.0, "", False)
    return plain._replace(**changes)


def test_a_target_says_how_it_is_reached_how_it_is_and_what_may_be_done() -> None:
    told = texts(host_table([row(is_current=True, may_act=True), row(name="runs/a", via="folder")], 120))
    assert told[1].split() == [
        "▸",
        "ssh://lab",
        "ssh",
        "●",
        "live",
        "operate",
        "0.4.1",
        "12",
        "ms",
        "sft",
        "running",
        "1.3k",
    ]
    assert "read-only" in told[2]


def test_what_is_stale_failed_or_over_is_never_shown_as_live() -> None:
    rows = [
        row(liveness="stale", age_seconds=41.0), row(liveness="connecting", trouble="no way"),
        row(liveness="connecting"), row(liveness="replay", version="", round_trip_seconds=None, bytes_per_second=None),
    ]  # fmt: skip
    stale, failed, connecting, journal = texts(host_table(rows, 120))[1:]
    assert "! 41 s old" in stale
    assert "! failed" in failed
    assert "… connecting" in connecting
    assert "■ journal" in journal
    assert len(texts(host_table(rows, 60))[1]) <= 60


def test_a_check_is_told_step_by_step_with_the_fix_below_the_one_that_failed() -> None:
    steps = [
        Step(1, "ssh", "ok", "the client", ""), Step(2, "name", "fail", "nobody knows lab", "check its spelling " * 5),
        Step(3, "connect", "skip", "not reached", ""), Step(4, "host key", "skip", "not reached", ""),
    ]  # fmt: skip
    told = texts(step_lines(steps, "", 80, is_checking=False, is_here=False))
    assert told[1].strip().startswith("2 FAIL  name")
    assert told[2].strip().startswith("fix: check its spelling")
    assert told[-1].strip() == "3 skip  not reached: connect, host key"
    assert max(map(len, told)) <= 80


def test_before_a_check_it_is_said_how_to_have_one() -> None:
    lines = partial(step_lines, [], is_checking=False, is_here=False)
    assert texts(lines("ssh ended; try again", 80)) == ["ssh ended; try again", "c checks the way step by step"]
    assert "nothing is between" in texts(step_lines([], "", 80, is_checking=False, is_here=True))[0]
    assert texts(step_lines([], "", 80, is_checking=True, is_here=False))[0].startswith("checking")


def test_the_newest_words_of_ssh_are_shown() -> None:
    assert texts(transcript_lines(["$ ssh lab", "one", "two"], 2, 60)) == ["one", "two"]
    assert transcript_lines(["$ ssh lab"], 5, 60)[0][0].tone == "accent"
    long = f"$ ssh -T -o BatchMode=yes -o ConnectTimeout=10 -- lab {'mlx-distributed dial-stdio':>10}"
    assert texts(transcript_lines([long], 5, 40)) == [
        "$ ssh -T -o BatchMode=yes -o", "  ConnectTimeout=10 -- lab", "  mlx-distributed dial-stdio",
    ]  # fmt: skip


def test_a_target_over_ssh_may_act_where_the_console_may() -> None:
    far = remote_target("ssh://kim@lab/runs/a", Ssh(operate=True))
    assert (far.name, far.may_act) == ("ssh://kim@lab/runs/a", True)
    assert far.come_back == "mlx-distributed console --attach ssh://kim@lab/runs/a --operate"
    with pytest.raises(NotATarget):
        remote_target("ssh://-evil", Ssh())


def test_a_place_is_a_folder_or_a_machine_or_a_mistake(folder: Path) -> None:
    assert line_of(target_of("ssh://lab", operate=False)) is not None
    assert line_of(target_of(str(folder), operate=False)) is None
    for place, words in (("ssh://:1", "names no host"), ("/nowhere", "is no run")):
        with pytest.raises(UsageError, match=words):
            target_of(place, operate=False)


def far_target(ssh: Ssh = DEAF) -> Target:
    return remote_target("ssh://lab", ssh)


def test_a_way_that_fails_is_checked_by_a_key_and_its_fix_copied(folder: Path) -> None:
    async def look() -> None:
        async with console(target(folder), far_target()) as (app, pilot):
            await pilot.press("6")
            await until(app, pilot, "! failed")
            await pilot.press("down", "c")
            told = await until(app, pilot, "FAIL")
            assert "Way to ssh://lab" in told
            assert "$ sh -c" in told
            assert "0/2 connected" in told
            await pilot.press("y")
            await until(app, pilot, "there is no command that mends it")

    in_console(look)


def test_a_target_is_shown_on_every_screen_and_let_go(folder: Path) -> None:
    async def look() -> None:
        async with console(target(folder), far_target()) as (app, pilot):
            await pilot.press("6", "down", "enter")
            await until(app, pilot, "every screen shows ssh://lab now")
            assert app.targets.current is app.targets.all[1]
            await pilot.press("D")
            await until(app, pilot, "ssh://lab is let go")
            assert [each.name for each in app.targets.all] == ["runs/tiny"]
            await pilot.press("D")
            await until(app, pilot, "this is the last target")
            await pilot.press("c")
            await until(app, pilot, "has no way to check")

    in_console(look)


def test_a_target_is_added_by_what_is_typed_and_a_mistake_is_said_at_once(folder: Path) -> None:
    async def look() -> None:
        app = ConsoleApp(
            Targets([target(folder)]),
            Terminal("dark", True),
            open_target=lambda place, is_own: remote_target(place, DEAF),
        )
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            await pilot.press("6", "A")
            await pilot.pause()
            field = app.screen.query_one(Input)
            wrong = {
                "ssh://-x": "cannot begin with a dash",
                "/nowhere": "is no run's folder",
                "unix:/nowhere": "no such socket",
            }
            for text, words in wrong.items():
                field.value = text
                await until(app, pilot, words)
            field.value = "ssh://lab"
            await pilot.press("enter")
            await until(app, pilot, "FAIL")
            assert [each.name for each in app.targets.all] == ["runs/tiny", "ssh://lab"]
            await pilot.press("A")
            await pilot.pause()
            app.screen.query_one(Input).value = "ssh://lab"
            await until(app, pilot, "is a target already")
            await pilot.press("escape")

    in_console(look)


def test_what_a_machine_said_of_itself_is_in_its_row(folder: Path) -> None:
    async def look() -> None:
        far = far_target()
        assert isinstance(far.feed, LineFeed)
        far.feed.line.greeting = Greeting("9.9.9", "/runs/a", 0.0, 0.005, may_act=False)
        async with console(target(folder), far, size=(130, 30)) as (app, pilot):
            await pilot.press("6")
            told = await until(app, pilot, "9.9.9")
            assert "5 ms" in told

    in_console(look)
