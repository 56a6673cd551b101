"""The one table of keys: what is in it, where it shows, and that all of it works or is refused."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.widget import Widget

from console.app import ConsoleApp
from console.dialogs.ask import AskDialog
from console.dialogs.confirm import ConfirmDialog
from console.dialogs.help import help_rows
from console.dialogs.lines import LinesDialog
from console.dialogs.pick import PickDialog
from console.dialogs.text import TextDialog
from console.screens.base import BaseScreen, keys_line
from console.state.keymap import FOOTER_KEYS, HELP, OF_SCREENS, as_table, footer_of, keys_of, of_tab, refusal_of, table
from console.state.keys.row import Key
from console.state.spans import text_of
from console.state.tabs import TABS, tab_of
from console.widgets.sheet import Sheet
from tests.unit.console.seats import console, in_console, settled, target, written
from tests.unit.view.told import begun, steps


def screen_of(scope: str) -> type[BaseScreen]:
    module, _, name = tab_of(scope).place.partition(":")
    found: type[BaseScreen] = getattr(import_module(f"console.screens.{module}"), name)
    return found


@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.name)
def test_every_key_of_a_screen_means_one_thing_and_says_what(tab: tuple[str, ...]) -> None:
    scope = tab[1]
    keys = [key for row in keys_of(scope) for key in row.keys.split(",")] + [each.key for each in TABS]
    assert len(keys) == len(set(keys))
    assert all(row.help and row.label for row in keys_of(scope))


@pytest.mark.parametrize("scope", OF_SCREENS)
def test_every_action_of_the_table_is_there(scope: str) -> None:
    kind = screen_of(scope)
    assert [
        key.action
        for key in keys_of(scope)
        if not (hasattr(kind, f"do_{key.action}") or hasattr(ConsoleApp, f"do_{key.action}"))
    ] == []


@pytest.mark.parametrize("scope", OF_SCREENS)
@pytest.mark.parametrize("may_act", [True, False])
def test_a_footer_has_six_keys_at_most_and_help_is_its_last(scope: str, may_act: bool) -> None:
    footer = footer_of(scope, may_act=may_act)
    assert (len(footer) <= FOOTER_KEYS, footer[-1]) == (True, HELP)
    assert may_act or not any(key.acts for key in footer)


def test_a_narrow_footer_loses_keys_but_never_help() -> None:
    keys = footer_of("logs", may_act=True)
    assert [text_of(keys_line(keys, width)).strip().endswith("? Help") for width in (20, 60, 80, 100)] == [True] * 4
    assert len(text_of(keys_line(keys, 60))) <= 60


def test_keys_are_written_as_a_person_writes_them() -> None:
    assert Key("ctrl+s,question_mark,x", "a", "A", "").all_shown == "^s ? x"
    assert of_tab(TABS[0]).shown == "1"


def test_the_documentation_holds_every_row() -> None:
    rows = list(table())
    assert len(as_table().splitlines()) == len(rows) + 2
    assert {scope for scope, _ in rows} == {"everywhere", *OF_SCREENS}


@pytest.mark.parametrize("kind", [AskDialog, ConfirmDialog, LinesDialog, PickDialog, TextDialog, Sheet])
def test_the_keys_of_dialogs_and_lists_show_in_help(kind: type[Widget]) -> None:
    notes = help_rows("Run", keys_of("run"), (), width=77, may_act=True)
    words = " ".join(text_of(row.parts) for row in notes[-5:]).replace(",", " ").replace(";", " ").split()
    bindings = [binding for binding in kind.BINDINGS if isinstance(binding, Binding)]
    shown = {name for each in bindings for name in Key(each.key, "", "", "").all_shown.split()}
    assert shown
    assert shown - set(words) == set()


@pytest.mark.parametrize("width", [40, 53, 77])
@pytest.mark.parametrize("may_act", [True, False])
def test_no_line_of_help_is_wider_than_its_dialog(width: int, may_act: bool) -> None:
    rows = help_rows("Overview", keys_of("overview"), (), width, may_act=may_act)
    assert max(len(text_of(row.parts)) for row in rows) <= width


@pytest.mark.parametrize("scope", OF_SCREENS)
def test_every_key_shows_in_help_and_what_acts_is_refused_read_only(scope: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 4)])

    async def used() -> None:
        async with console(target(folder), size=(110, 90)) as (app, pilot):
            await pilot.press(tab_of(scope).key)
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, BaseScreen)
            assert scope == screen.SCOPE
            refused = [key for key in keys_of(scope) if key.acts]
            for key in refused:
                await pilot.press(key.keys.split(",")[0])
            await pilot.pause()
            said = {notification.message for notification in app._notifications}
            assert {refusal_of(key) for key in refused} <= said
            await pilot.press("question_mark")
            await settled(pilot)
            rows = app.screen.query_one("#help", Sheet).rows
            text = " ".join(" ".join(text_of(row.parts) for row in rows).split())
            assert [key.help for key in keys_of(scope) if key.help not in text] == []

    in_console(used)


def test_every_other_key_of_the_table_is_pressed_and_nothing_breaks(tmp_path: Path) -> None:
    folder = written(tmp_path / "tiny", [*begun(), *steps(1, 9)])

    async def used() -> None:
        async with console(target(folder, may_act=False)) as (app, pilot):
            for tab in TABS:
                keys = OF_SCREENS.get(tab.name, ()) if tab is not TABS[0] else keys_of(tab.name)
                for key in keys:
                    if key.action in {"leave", "save", "verify"}:  # the end, a file, a process: their own tests
                        continue
                    await pilot.press(tab.key, key.keys.partition(",")[0])
                    while len(app.screen_stack) > 1:
                        await pilot.press("escape")
                        await pilot.pause()
            assert app.is_running

    in_console(used)
