"""The console's frame, over recorded journals."""

from __future__ import annotations

from pathlib import Path

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
