"""From nothing to a configuration: presets, files of this folder, a data file. A part of the Config screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.dialogs.ask import AskDialog
from console.dialogs.pick import PickDialog
from console.messages.intents import Attach, Say
from console.state import form as state
from console.state.form import Form
from console.state.presets import (
    Preset,
    configs_in,
    copy_quickstart_data,
    data_files,
    free_name,
    in_words,
    missing_files,
    presets_in,
    shipped_folder,
    text_of,
)
from console.state.spans import line
from console.widgets.sheet import Row, Sheet
from runtime.config.save import literal

BUILT_IN = "built-in"


class Beginning:
    """What the Config screen does before there is a form, and how data get into one."""

    form: Form | None
    if TYPE_CHECKING:
        app: Any
        post_message: Any
        change: Any
        open_file: Any
        lay_out: Any
        do_plan: Any

    def show_beginnings(self, sheet: Sheet) -> None:
        """Presets, configurations and runs of this folder."""
        here = Path.cwd()
        sheet.border_title = "Begin"
        rows = [Row(line(("A new run", "strong"), ("  from a preset", "dim")))]
        for preset in presets_in(shipped_folder()):
            rows.append(Row(line("  ", f"{preset.name:<14}", (f" {preset.about}", "dim")), f"preset:{preset.name}"))
        if configs := configs_in(here):
            rows += [Row(()), Row(line(("A configuration", "strong"), ("  of this folder", "dim")))]
            rows += [Row(line("  ", path.name), f"open:{path.name}") for path in configs]
        if runs := sorted(path.parent for path in here.glob("runs/*/events.jsonl")):
            rows += [Row(()), Row(line(("A run", "strong"), ("  to look at", "dim")))]
            rows += [Row(line("  ", f"runs/{path.name}"), f"run:runs/{path.name}") for path in runs]
        sheet.show(rows)

    def begin_with(self, key: str) -> None:
        """What was chosen among the beginnings."""
        kind, _, name = key.partition(":")
        if kind == "open":
            self.open_file(Path(name))
        elif kind == "run":
            self.post_message(Attach(name, "overview"))
        elif kind == "preset":
            preset = next(one for one in presets_in(shipped_folder()) if one.name == name)
            there = [path.name for path in Path.cwd().iterdir()]
            dialog = AskDialog(
                "name of the new file",
                free_name(preset.name, there),
                about="It is written into this folder; the run is named after it.",
                judge=_new_name,
            )
            self.app.push_screen(dialog, lambda named: self._made(preset, named))

    def do_begin(self) -> None:
        """Back to the beginnings; what is not saved is not lost without a word."""
        if self.form is not None and self.form.is_modified:
            self.post_message(Say("there are unsaved changes: ^s saves them, u takes them back", is_bad=True))
            return
        self.form = None
        self.lay_out()

    def do_data(self) -> None:
        """Choose a file of samples."""
        if self.form is None:
            return
        here = Path.cwd()
        found = [(str(path), in_words(path, here)) for path in data_files(here)]
        built_in = (BUILT_IN, "the quickstart's own data, copied into data/")
        self.app.push_screen(PickDialog("train on", [*found, built_in]), self._data_picked)

    def _made(self, preset: Preset, named: str | None) -> None:
        if named is None:
            return
        path = Path(named)
        try:
            text = text_of(preset)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as failed:
            self.post_message(Say(f"{path} cannot be written: {failed.strerror}", is_bad=True))
            return
        self.open_file(path)
        if self.form is not None and missing_files(self.form.verdict.config, Path.cwd()):
            self.do_data()

    def _data_picked(self, picked: str | None) -> None:
        if picked is None or self.form is None:
            return
        try:
            path = copy_quickstart_data(self.form.path.resolve().parent) if picked == BUILT_IN else Path(picked)
        except OSError as failed:
            self.post_message(Say(f"the data cannot be copied: {failed.strerror}", is_bad=True))
            return
        self.change(with_data(self.form, path))
        self.do_plan()


def about_beginning(key: str) -> str:
    """What a beginning is, in a sentence or two."""
    kind, _, name = key.partition(":")
    if kind == "preset":
        return next((preset.about for preset in presets_in(shipped_folder()) if preset.name == name), "")
    return {
        "open": "Edit it, plan it, launch it.",
        "run": "Look at it: live where it runs, else from its journal.",
    }.get(kind, "")


def with_data(form: Form, path: Path) -> Form:
    """The form with this file as its first source; a held-out file that is not there becomes a part of the source."""
    base = form.path.resolve().parent
    place = path.resolve()
    told = str(place.relative_to(base)) if place.is_relative_to(base) else str(place)
    form = state.edited(form, "data.source[0].path", literal(told))
    if any(name.startswith("data.eval.path") for name in missing_files(form.verdict.config, base)):
        form = state.edited(form, "data.eval.path", '""')
        form = state.edited(form, "data.eval.eval_fraction", "0.05")
    return form


def _new_name(text: str) -> str:
    """What is wrong with the name of a new configuration."""
    if not text.endswith(".toml"):
        return "its name ends with .toml"
    if Path(text).exists():
        return f"{text} is already there and stays as it is; name another file"
    return "" if Path(text).parent.is_dir() else f"there is no folder {Path(text).parent}"
