"""The screens as a whole: at every size, in every look, with anything in the logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.app import ConsoleApp
from console.messages.intents import Act, Copy
from console.screens.base import BaseScreen
from console.screens.checkpoints import CheckpointsScreen
from console.screens.logs import LogsScreen
from console.screens.overview import OverviewScreen
from console.state.figures import columns
from console.state.shelf import OnDisk, Shelf
from console.state.tabs import TABS
from console.state.terminal import ThemeName
from console.widgets.drawn import Drawn
from console.widgets.sheet import Row, Sheet
from runtime.events import ActorExited, CheckpointWritten, Event, Warned
from runtime.ids import Incarnation, Step
from tests.unit.console.seats import console, in_console, settled, shown, target, until, written
from tests.unit.view.told import WORKER, begun, steps

SIZES = [(60, 20), (80, 24), (100, 30), (200, 50), (40, 12)]
HOSTILE = "\x1b[31m\x1b]0;owned\x07 [bold red]not markup[/] \u202eevil \x9b2J"


def story() -> list[Event]:
    killed = ActorExited(WORKER, Incarnation(1), "error", "killed by SIGKILL", None, HOSTILE, False)
    saved = [CheckpointWritten(Step(step), f"checkpoints/step-{step:08d}", 1000, 0.1, "c0ffee") for step in (2, 4)]
    return [*begun(), *steps(1, 4), *saved, killed, Warned("disk", HOSTILE)]


def said(app: ConsoleApp) -> str:
    return "\n".join(notification.message for notification in app._notifications)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_fits_every_size_and_holds_no_control_character(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder), size=size) as (app, pilot):
            for tab in TABS:
                await pilot.press(tab.key)
                await settled(pilot)
                lines = shown(app).splitlines()
                assert len(lines) == size[1]
                assert [text for text in lines if columns(text) > size[0]] == []
                assert all(text.isprintable() for text in lines)
                assert "tiny" in lines[0] or "quick" in lines[0]
                assert tab.title in lines[1]
                assert lines[-1].rstrip().endswith("? Help")

    in_console(used)


@pytest.mark.parametrize(("theme", "has_unicode"), [("light", True), ("ansi", True), ("ansi", False)])
def test_every_look_draws_every_screen(tmp_path: Path, theme: ThemeName, has_unicode: bool) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        try:
            async with console(target(folder), theme=theme, has_unicode=has_unicode) as (app, pilot):
                for tab in TABS:
                    await pilot.press(tab.key)
                    await settled(pilot)
                    text = shown(app)
                    assert tab.title in text
                    assert has_unicode or text.isascii()
                await pilot.press("t")
                assert app.theme != theme
        finally:
            Drawn.has_unicode = True

    in_console(used)


def test_no_color_writes_no_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder), theme="ansi") as (app, pilot):
            for tab in TABS:
                await pilot.press(tab.key)
                await settled(pilot)
            strips = app.screen._compositor.render_strips()
            styles = [segment.style for strip in strips for segment in strip if segment.style is not None]
            assert {style.color.name for style in styles if style.color is not None} <= {"default"}

    in_console(used)


def test_nothing_is_drawn_where_nothing_changed(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, BaseScreen)
            app.tick()
            await settled(pilot)
            drawn = screen.moment
            app.tick()
            assert screen.moment is drawn
            await pilot.press("space")
            assert "FROZEN" in shown(app)
            await pilot.press("space")
            assert "FROZEN" not in shown(app)

    in_console(used)


def test_from_an_event_to_its_line_to_the_node_that_said_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())
    log = folder / "logs" / "worker-1.log"
    log.parent.mkdir()
    log.write_text(f"2026-11-23 01:02:03,456 ERROR mlx-distributed: {HOSTILE}\n" + "plain\n" * 40)

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await settled(pilot)
            overview = app.screen
            assert isinstance(overview, OverviewScreen)
            events = overview.query_one("#events", Sheet)
            events.focus()
            first = events.chosen
            await pilot.press("enter")
            await settled(pilot)
            app.tick()
            await settled(pilot)
            logs = app.screen
            assert isinstance(logs, LogsScreen)
            lines = logs.query_one("#lines", Sheet)
            assert lines.chosen == f"event:{first}"
            assert "PAUSED" in shown(app)
            await pilot.press("enter")
            assert "has no node" in said(app)
            await pilot.press("f")
            await settled(pilot)
            assert "following" in shown(app)
            await pilot.press("s", "s")
            await settled(pilot)
            assert {row.key.partition(":")[0] for row in lines.rows} == {"worker-1"}
            await pilot.press("home", "n", "enter")
            await settled(pilot)
            assert app.screen is overview
            assert overview.query_one("#tree", Sheet).chosen == "run/node/worker-1"
            await pilot.press("enter", "L")
            await settled(pilot)
            assert app.screen is logs

    in_console(used)


def test_lines_are_filtered_marked_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await pilot.press("5")
            await settled(pilot)
            lines = app.screen.query_one("#lines", Sheet)
            whole = len(lines.rows)
            await pilot.press("slash", *"(", "enter")
            assert len(app.screen_stack) == 2
            await pilot.press("backspace", *"checkpoint", "enter")
            await settled(pilot)
            assert 0 < len(lines.rows) < whole
            await pilot.press("m", "l", "l")
            await settled(pilot)
            assert [row.key.partition(":")[0] for row in lines.rows] == ["mark"]
            await pilot.press("N", "x", "ctrl+s", "ctrl+s")
            await settled(pilot)
            assert len(lines.rows) == whole + 1
            assert (tmp_path / "tiny-logs.txt").read_text().count("\n") == whole + 1
            assert (tmp_path / "tiny-logs-2.txt").is_file()
            await pilot.press("e", "s", "up")

    in_console(used)


def test_a_checkpoint_is_gone_on_from_here_or_by_a_copied_command_and_deleted_only_by_its_name(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())
    (folder / "checkpoints" / "step-00000004").mkdir(parents=True)

    async def used() -> None:
        async with console(target(folder, may_act=True)) as (app, pilot):
            await pilot.press("4")
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, CheckpointsScreen)
            assert "step-00000004" in shown(app)
            await pilot.press("r")
            await settled(pilot)
            assert "start it here, as a run of its own; nothing in runs/tiny changes" in shown(app)
            await pilot.press("down", "enter")
            await settled(pilot)
            await pilot.press("f")
            await settled(pilot)
            await pilot.press("escape")
            assert "--resume runs/tiny/checkpoints/step-00000004" in said(app)
            await app.workers.wait_for_complete()
            screen._shelf = Shelf({4: OnDisk(4, "p", pinned=True)})
            await pilot.press("D", *"no", "enter")
            assert len(app.screen_stack) == 2
            await pilot.press("escape", "x", "escape", "v")
            await app.workers.wait_for_complete()
            await settled(pilot)
            assert "1 of 1 are broken" in said(app)
            await pilot.press("D", *"step-00000004", "enter")
            await app.workers.wait_for_complete()
            await settled(pilot)
            assert "the newest one" in said(app)
            await pilot.press("down", "D", "escape")

    in_console(used)


def test_what_cannot_be_done_to_a_checkpoint_is_said(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        near = target(folder, may_act=True)
        async with console(near) as (app, pilot):
            await pilot.press("4")
            await app.workers.wait_for_complete()
            await settled(pilot)
            await pilot.press("n")
            assert "has no checkpoint" in await until(app, pilot, "has no checkpoint")
            await app.workers.wait_for_complete()
            await pilot.press("x", "m", "enter")
            await until(app, pilot, "exporting")
            await app.workers.wait_for_complete()
            near.folder = near.home = None
            await pilot.press("v")
            await until(app, pilot, "there is no way to the folder of this run from here")

    in_console(used)


def test_intents_are_told_and_leaving_a_live_run_says_how_to_come_back(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        one = target(folder)
        one.picture._heard_seconds, one.picture._is_replay = 0.0, False
        async with console(one) as (app, pilot):
            app.screen.post_message(Copy("echo", "x"))
            await settled(pilot)
            assert "echo" in said(app)
            await pilot.press("y")
            one.picture._is_replay = False
            await pilot.press("q")
        assert app.farewell == "the run goes on; come back with: mlx-distributed console runs/tiny"
        assert Act("stop").subject == ""

    in_console(used)


def test_the_palette_finds_a_key_by_its_words(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await pilot.press("colon", *"hold the screen")
            await settled(pilot)
            await app.workers.wait_for_complete()
            await settled(pilot)
            await pilot.press("enter")
            await settled(pilot)
            assert app.is_frozen

    in_console(used)


def test_a_cursor_stays_on_its_row_and_moves_over_those_without_a_name(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            sheet = app.screen.query_one("#events", Sheet)
            sheet.focus()
            await pilot.press("space")  # nothing is drawn over what is shown here
            sheet.show([Row((), ""), *(Row((), f"{number}") for number in range(40))])
            await settled(pilot)
            await pilot.press("home")
            assert sheet.chosen == "0"
            await pilot.press("down", "j", "up", "pagedown", "end")
            await settled(pilot)
            assert (sheet.chosen, sheet.scroll_offset.y > 0) == ("39", True)
            await pilot.press("pageup", "home", "k")
            assert sheet.chosen == "0"
            sheet.choose("7")
            sheet.show([Row((), f"{number}") for number in range(5, 30)])
            assert (sheet.chosen, sheet.choose("39")) == ("7", False)
            sheet.show([Row((), "99")])
            assert sheet.chosen == "99"
            await pilot.click("#events", offset=(3, 1))
            await settled(pilot)

    in_console(used)


def test_a_run_that_cannot_go_on_from_a_checkpoint_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder, may_act=True)) as (app, pilot):
            app.action_show_tab("checkpoints")
            await settled(pilot)
            await pilot.press("r")
            await settled(pilot)
            assert "nothing in runs/tiny changes" in shown(app)
            await pilot.press("enter")
            await until(app, pilot, "starting from step 4")
            await app.workers.wait_for_complete()
            assert "there is no command on" in said(app)

    in_console(used)


def test_a_terminal_that_changed_its_size_under_a_dialog_has_the_right_layout_behind_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", story())

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            await pilot.press("question_mark")
            await settled(pilot)
            await pilot.resize_terminal(70, 20)
            await settled(pilot)
            await pilot.press("escape")
            await settled(pilot)
            assert app.screen.has_class("-narrow", "-short")
            assert not app.screen.has_class("-tall")

    in_console(used)


def test_who_may_only_look_gets_the_command_that_goes_on_and_nothing_goes_on_without_a_checkpoint(
    tmp_path: Path,
) -> None:
    full, empty = written(tmp_path / "tiny", story()), written(tmp_path / "none", [*begun(), *steps(1, 2)])

    async def used() -> None:
        for folder, words in ((full, "--resume runs/tiny/checkpoints/step-00000004"), (empty, "no whole checkpoint")):
            async with console(target(folder)) as (app, pilot):
                app.action_show_tab("checkpoints")
                await settled(pilot)
                await pilot.press("r")
                await settled(pilot)
                assert words in said(app)

    in_console(used)
