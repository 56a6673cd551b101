"""The console's frame, over recorded journals."""

from __future__ import annotations

import asyncio
from pathlib import Path

from console.app import ConsoleApp
from console.screens.base import BaseScreen
from console.state.tabs import TABS
from tests.unit.console.seats import console, in_console, settled, shown, target, written
from tests.unit.view.told import begun, steps


def test_the_first_screen_says_which_run_it_is_and_where(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def look() -> None:
        async with console(target(folder)) as (app, pilot):
            first = shown(app).splitlines()[0]
            assert "step 4" in first
            await pilot.press("question_mark")
            await settled(pilot)
            assert "restart the chosen actor" in shown(app)
            await pilot.press("end")
            await settled(pilot)
            assert "leave the console; a run goes on" in shown(app)

    in_console(look)


def test_a_tick_at_any_moment_of_a_new_screen_finds_no_widget_missing(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def go_round() -> None:
        async def show(app: ConsoleApp, name: str) -> None:
            await app.switch_mode(name)

        async with console(target(folder)) as (app, pilot):
            for tab in (*TABS[1:], TABS[0]):
                shows = asyncio.ensure_future(show(app, tab.name))
                while not shows.done():
                    app.tick()
                    await asyncio.sleep(0)
                await settled(pilot)
                assert f"[{tab.key} " in shown(app)

    in_console(go_round)


def test_a_tick_at_any_moment_of_the_end_finds_no_widget_missing(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def leave() -> None:
        async with console(target(folder)) as (app, pilot):
            first = app.screen
            assert isinstance(first, BaseScreen)
            await pilot.press("2")
            await settled(pilot)
            await pilot.press("1")
            await settled(pilot)
            ends = asyncio.ensure_future(app._shutdown())
            while not ends.done():
                first.look(force=True)
                app.tick()
                await asyncio.sleep(0)
            assert app.screen_stack == []

    in_console(leave)
