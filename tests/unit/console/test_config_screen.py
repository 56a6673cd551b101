"""Screen 3 by keys: from nothing to a form, edits, what is refused, what is saved."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from console.app import ConsoleApp
from console.client.baseline import baselines_beside
from console.client.children import Started
from console.client.targets import Target, Targets
from console.dialogs.ask import AskDialog
from console.dialogs.lines import LinesDialog
from console.dialogs.pick import PickDialog
from console.dialogs.text import TextDialog
from console.screens.beginning import about_beginning, with_data
from console.screens.config import ConfigScreen
from console.state.form import opened
from console.state.presets import data_files, free_name, missing_files, presets_in, shipped_folder
from console.state.spans import line
from console.state.terminal import Terminal
from console.widgets.sheet import Sheet
from runtime.errors import UsageError
from tests.unit.console.seats import in_console, shown, target, written
from tests.unit.view.told import begun as told_begun
from tests.unit.view.told import steps

BROKEN = """\
schema = 1
[train]
steps = 3           # few
global_batch_size = 0
[optim]
lr = 20.0
[[data.source]]
path = "mine.jsonl"
"""


TINY = """\
[model.scratch]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 16
[data]
max_length = 96
[[data.source]]
path = "data/quickstart-train.jsonl"
[train]
steps = 3
global_batch_size = 4
micro_batch_size = 4
compile = false
[parallel]
workers = 1
"""


@contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@asynccontextmanager
async def configuring(
    folder: Path, config: str = "", size: tuple[int, int] = (100, 30)
) -> AsyncIterator[tuple[ConsoleApp, Pilot[None], ConfigScreen]]:
    def open_target(place: str, is_own: bool) -> Target:
        if not (folder / place / "events.jsonl").is_file():
            raise UsageError(f"{place} is no run")
        return target(folder / place, may_act=is_own)

    with standing_in(folder):
        app = ConsoleApp(
            Targets(), Terminal("dark", True), config=Path(config) if config else None, open_target=open_target
        )
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            app.tick()
            await pilot.pause()
            assert isinstance(app.screen, ConfigScreen)
            yield app, pilot, app.screen


def said(app: ConsoleApp) -> str:
    return "\n".join(notification.message for notification in app._notifications)


async def shows(app: ConsoleApp, pilot: Pilot[None], mode: str) -> bool:
    """Whether that screen comes, now or when what was asked for is done."""
    for _ in range(400):
        if app.current_mode == mode:
            return True
        await pilot.pause()
    return False


def at(screen: ConfigScreen, name: str) -> None:
    assert screen.query_one("#form", Sheet).choose(name)


def test_an_empty_folder_offers_presets_and_makes_a_file_of_one(tmp_path: Path) -> None:
    async def used() -> None:
        async with configuring(tmp_path) as (app, pilot, screen):
            assert "quickstart" in shown(app)
            assert "A small llama" in shown(app)
            (tmp_path / "answers.csv").write_text("a,b\n")
            await pilot.press("enter")
            assert isinstance(app.screen, AskDialog)
            await pilot.press("backspace", "enter")  # quickstart.tom
            assert isinstance(app.screen, AskDialog)
            await pilot.press("l", "enter")
            await pilot.pause()
            assert isinstance(app.screen, PickDialog)
            assert "answers.csv" in shown(app)
            await pilot.press("down", "enter")
            await pilot.pause()
            assert (tmp_path / "data" / "quickstart-train.jsonl").is_file()
            form = screen.form
            assert form is not None
            assert (form.verdict.problems, form.is_modified) == (0, False)
            assert "[run]" in shown(app)

    in_console(used)


def test_a_data_file_of_ones_own_becomes_the_source_and_gives_the_held_out_part(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("{}\n")
    config = tmp_path / "q.toml"
    config.write_text((shipped_folder() / "quickstart.toml").read_text())
    form = with_data(opened(config, config.read_text()), tmp_path / "mine.jsonl")
    assert dict(form.edits) == {
        "data.source[0].path": '"mine.jsonl"',
        "data.eval.path": '""',
        "data.eval.eval_fraction": "0.05",
    }
    elsewhere = with_data(form, Path("/somewhere/else.jsonl"))
    assert dict(elsewhere.edits)["data.source[0].path"] == '"/somewhere/else.jsonl"'


def test_fields_are_changed_by_keys_and_a_wrong_value_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(BROKEN)
    (tmp_path / "mine.jsonl").write_text("")

    async def used() -> None:
        async with configuring(tmp_path, "b.toml") as (app, pilot, screen):
            assert "✗ 2 problems" in shown(app)
            at(screen, "train.global_batch_size")
            await pilot.press("enter")
            await pilot.pause()
            assert "must be an integer >= 1, got 0" in shown(app)
            await pilot.press("enter")
            assert isinstance(app.screen, AskDialog)
            await pilot.press("backspace", "8", "enter")
            await pilot.pause()
            assert screen.form is not None
            assert screen.form.edits == (("train.global_batch_size", "8"),)
            at(screen, "optim.name")
            await pilot.press("enter")
            await pilot.pause()
            assert isinstance(app.screen, PickDialog)
            await pilot.press("down", "enter")
            assert screen.form.verdict.values["optim.name"] == '"adam"'
            await pilot.press("d")
            assert screen.form.verdict.values["optim.name"] == '"adamw"'
            at(screen, "data.source[0].path")
            await pilot.press("enter", *"x", "enter")
            assert screen.form.verdict.values["data.source[0].path"] == '"mine.jsonlx"'
            await pilot.press("u")
            assert screen.form.verdict.values["data.source[0].path"] == '"mine.jsonl"'
            await pilot.press("m", "slash", *"batch", "enter")
            await pilot.pause()
            assert "/batch" in shown(app)
            await pilot.press("ctrl+s")
            await pilot.pause()
            assert "global_batch_size = 8" in (tmp_path / "b.toml").read_text()
            assert "steps = 3           # few" in (tmp_path / "b.toml").read_text()
            assert "saved" in said(app)

    in_console(used)


def test_the_text_can_be_edited_and_a_broken_one_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(BROKEN)

    async def used() -> None:
        async with configuring(tmp_path, "b.toml") as (app, pilot, screen):
            await pilot.press("t")
            assert isinstance(app.screen, TextDialog)
            area = app.screen.query_one(TextArea)
            area.text = "steps ="
            await pilot.press("ctrl+s")
            await pilot.pause()
            assert "b.toml:1" in shown(app)
            area.text = BROKEN.replace("global_batch_size = 0", "epochs = 2.0")
            await pilot.press("ctrl+s")
            await pilot.pause()
            assert screen.form is not None
            assert "both say how long to train" in "".join(screen.form.verdict.wrong.values())
            await pilot.press("n")
            assert "unsaved changes" in said(app)
            await pilot.press("t", "escape", "ctrl+r")
            assert "not launched" in said(app)
            await pilot.press("v")
            await asyncio.wait_for(app.workers.wait_for_complete(), 120)
            await pilot.pause()
            assert "must be a number > 0 and <= 10" in said(app)

            app.push_screen(LinesDialog("Samples", [line("one"), line("two")]))
            await pilot.pause()
            assert "two" in shown(app)
            await pilot.press("down", "escape")
            assert app.screen is screen

    in_console(used)


def test_differences_are_to_the_file_to_the_defaults_and_to_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(BROKEN)
    earlier = tmp_path / "runs" / "one"
    earlier.mkdir(parents=True)
    (earlier / "config.toml").write_text("[train]\nsteps = 9\n")

    async def used() -> None:
        async with configuring(tmp_path, "b.toml") as (app, pilot, _):
            assert "no difference" in shown(app)
            await pilot.press("D")
            await pilot.pause()
            assert "* train.steps  0 → 3" in shown(app)
            await pilot.press("D")
            await pilot.press("enter")
            await pilot.pause()
            assert "Differences to one" in shown(app)
            assert "* train.steps  9 → 3" in shown(app)
            (earlier / "config.toml").write_text("[train]\nsteps = 'x'\n")
            await pilot.press("D", "D", "D", "enter")
            await pilot.pause()
            assert "must be an integer" in said(app)
            await pilot.press("D", "D", "escape")
            (earlier / "config.toml").unlink()
            await pilot.press("D", "D")
            await pilot.pause()
            assert "no earlier run" in said(app)

    in_console(used)


def test_a_file_that_is_no_configuration_is_refused_and_the_beginnings_stay(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("steps =\n")
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n[train]\nsteps = 1\n")
    (tmp_path / "good.toml").write_text("[train]\nsteps = 1\n")

    async def used() -> None:
        async with configuring(tmp_path, "bad.toml") as (app, pilot, screen):
            assert "bad.toml:1" in said(app)
            for name, sentence in (("latin", "not UTF-8"), ("gone", "cannot be read")):
                screen.begin_with(f"open:{name}.toml")
                await pilot.pause()
                assert sentence in said(app)
            screen.begin_with("preset:quickstart")
            await pilot.pause()
            (tmp_path / "quickstart.toml").mkdir()
            await pilot.press("escape")
            screen._made(presets_in(shipped_folder())[0], "quickstart.toml")
            await pilot.pause()
            assert "cannot be written" in said(app)
            assert screen.form is None
            for key in ("d", "u", "p", "v", "f", "t", "ctrl+s", "ctrl+r"):
                await pilot.press(key)
            assert screen.form is None
            screen.begin_with("open:good.toml")
            await pilot.press("n")
            assert screen.form is None
            assert "good.toml" in shown(app)

    in_console(used)


def test_a_run_of_the_folder_is_attached_to_and_what_is_none_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "runs" / "one", [*told_begun(), *steps(1, 5)])

    async def used() -> None:
        async with configuring(tmp_path) as (app, pilot, screen):
            screen.begin_with("run:runs/none")
            await pilot.pause()
            assert "is no run" in said(app)
            screen.begin_with("run:runs/one")
            assert await shows(app, pilot, "overview")
            assert [each.folder for each in app.targets.all] == [tmp_path / "runs" / "one"]

    in_console(used)


def test_files_to_begin_with_are_found_near_first_and_never_in_runs(tmp_path: Path) -> None:
    for name in ("z.jsonl", "data/a.parquet", "data/deep/b.csv", "runs/x/c.jsonl", ".git/d.json", "e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in data_files(tmp_path)]
    assert found == [
        "z.jsonl",
        "data/a.parquet",
        "data/deep/b.csv",
    ]
    assert data_files(tmp_path / "nowhere") == []
    assert [free_name("a b", ()), free_name("q", ("q.toml",)), free_name("//", ())] == [
        "a-b.toml",
        "q-2.toml",
        "run.toml",
    ]
    assert about_beginning("open:x").startswith("Edit it")
    assert baselines_beside(tmp_path / "nowhere" / "x") == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a1.jsonl").write_text("")
    text = '[[data.source]]\npath = "a*.jsonl"\n[[data.source]]\npath = "hf:x/y"\n[[data.source]]\npath = "b?.json"\n'
    config = opened(tmp_path / "c.toml", text).verdict.config
    assert missing_files(config, tmp_path) == ["data.source[2].path: there is no b?.json"]


@pytest.mark.slow
def test_a_configuration_is_planned_launched_and_followed_by_keys(tmp_path: Path) -> None:
    """And the run lives on when the console is left."""
    (tmp_path / "tiny.toml").write_text(TINY)

    async def used() -> None:
        async with configuring(tmp_path) as (app, pilot, screen):
            at(screen, "open:tiny.toml")
            await pilot.press("enter", "f")
            await pilot.pause()
            await pilot.press("enter")
            await asyncio.wait_for(app.workers.wait_for_complete(), 120)
            await pilot.pause()
            assert "✓ fits: " in shown(app)
            await pilot.press("ctrl+r", "enter")
            await asyncio.wait_for(app.workers.wait_for_complete(), 120)
            assert await shows(app, pilot, "run")
            started.append(screen.launched)

    started: list[Started | None] = []
    in_console(used)
    run = started[0]
    assert run is not None
    assert run.process.wait(timeout=240) == 0
    assert "checkpoints" in {path.name for path in (tmp_path / run.runs / "tiny").iterdir()}
