"""Keys typed faster than the screen follows: each is answered by what the one before has opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from console.app import ConsoleApp
from console.dialogs.ask import AskDialog
from console.dialogs.pick import PickDialog
from console.keyboard import MOST_WAITING, PATIENCE_SECONDS
from console.screens.config import ConfigScreen
from console.screens.run import RunScreen
from tests.unit.console.seats import console, in_console, settled, target, written
from tests.unit.view.told import begun, steps


def typed(app: ConsoleApp, text: str) -> None:
    """All at once, as a terminal hands over what was typed while nobody read."""
    names = {"\r": "enter", "/": "slash", "\x1b": "escape"}
    for letter in text:
        app.post_message(events.Key(names.get(letter, letter), letter if letter.isprintable() else None))


async def at_rest(app: ConsoleApp, pilot: Pilot[None]) -> None:
    """Every key is answered."""
    await pilot.pause()  # the app has read them
    while app._keyboard._follower is not None or app._keyboard._waiting:
        await pilot.pause()
    await settled(pilot)


def test_what_is_typed_behind_the_key_of_a_dialog_is_read_by_that_dialog(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            typed(app, "2/loss\r")
            await at_rest(app, pilot)
            screen = app.screen
            assert isinstance(screen, RunScreen)
            assert screen.choice.pattern == "loss"

    in_console(used)


def test_a_dialog_that_opens_another_one_passes_the_keys_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def used() -> None:
        async with console() as (app, pilot):
            typed(app, "\r\r\r/train.steps\r\r")
            await at_rest(app, pilot)
            dialog = app.screen
            assert isinstance(dialog, AskDialog)
            assert (dialog._title, dialog.query_one(Input).value) == ("train.steps", "400")
            assert (tmp_path / "data" / "quickstart-train.jsonl").is_file()

    in_console(used)


def test_a_key_typed_while_a_dialog_closes_is_answered_by_the_screen_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def used() -> None:
        async with console() as (app, pilot):
            typed(app, "\r\r\x1bf\x1bm/lr\x1bf")
            await at_rest(app, pilot)
            config, dialog = app.screen_stack
            assert isinstance(config, ConfigScreen)
            assert (config.only_set, config.pattern) == (True, "")
            assert isinstance(dialog, PickDialog)

    in_console(used)


def test_a_dialog_that_does_not_come_keeps_keys_waiting_for_a_moment_only(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            app._keyboard.hold()
            typed(app, "2")
            await settled(pilot)
            assert not isinstance(app.screen, RunScreen)
            app._keyboard._since -= PATIENCE_SECONDS
            await app._keyboard.look()
            await at_rest(app, pilot)
            assert isinstance(app.screen, RunScreen)

    in_console(used)


def test_a_widget_that_goes_away_before_it_answers_holds_nobody_up(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            typed(app, "2/l")
            await at_rest(app, pilot)
            gone = app.focused
            assert isinstance(gone, Input)
            app._keyboard._follower = gone
            await gone.remove()
            await app._keyboard.look()
            await at_rest(app, pilot)

    in_console(used)


def test_more_keys_than_anybody_types_are_dropped_and_the_way_out_waits_for_none(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def used() -> None:
        async with console(target(folder)) as (app, pilot):
            app._keyboard.hold()
            typed(app, "2" * (MOST_WAITING + 5))
            await settled(pilot)
            assert len(app._keyboard._waiting) == MOST_WAITING
            await pilot.press("ctrl+q")
            await pilot.pause()
            assert app.return_code == 0

    in_console(used)
