"""Screen 3: a configuration as a form: checked while it is typed, planned, saved with its comments, launched."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, ClassVar

from textual import on, work
from textual.containers import Horizontal

from console.client.children import Refused, Started, begun, plan, preview, start_run
from console.client.targets import Moment
from console.dialogs.ask import AskDialog
from console.dialogs.lines import LinesDialog
from console.dialogs.pick import PickDialog
from console.dialogs.text import TextDialog
from console.messages.intents import Attach, Say
from console.screens.base import BaseScreen
from console.screens.beginning import Beginning, about_beginning
from console.state import form as state
from console.state import form_rows as rows
from console.state.figures import some
from console.state.form import Form
from console.state.form_fields import field_of
from console.state.form_save import NotSaved, edited_text, replace_file
from console.state.presets import missing_files
from console.state.sample_rows import sample_lines
from console.state.spans import EMPTY, Line, line
from console.widgets.sheet import Row, Sheet
from runtime.config.load import resolve
from runtime.config.schema import Config
from runtime.errors import ConfigError

DEBOUNCE_SECONDS = 0.3
SAMPLES = 12


class ConfigScreen(Beginning, BaseScreen):
    """The form, what it amounts to, what a key means, what is different."""

    SCOPE: ClassVar[str] = "config"

    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self.planned = rows.Planned()
        self.pattern = ""
        self.only_set = False
        self.launched: Started | None = None
        """The newest run that was started here; kept, because it may well outlive this console."""
        self._against = 0
        self._other: Mapping[str, str] = {}
        """Of the earlier run that is compared with."""
        self._other_name = ""

    def body(self) -> Iterable[Any]:
        """Four sheets."""
        with Horizontal(id="upper"):
            yield Sheet("form")
            yield Sheet("plan", "Plan", cursor=False)
        with Horizontal(id="lower"):
            yield Sheet("about", "Key", cursor=False)
            yield Sheet("difference", "Differences", cursor=False)

    def on_mount(self) -> None:
        """The file that was named on the command line, or where one can begin."""
        if self.seat.config is not None:
            self.open_file(self.seat.config)
        self.query_one("#form", Sheet).focus()

    def look(self, *, force: bool = False) -> None:
        """The form does not wait for news of a run."""
        super().look(force=force)
        if force:
            self.lay_out()

    def draw(self, moment: Moment) -> None:
        """Nothing of the run is shown here but the title."""

    def fact(self, moment: Moment) -> Line:
        """Which file, and whether it is as it was loaded."""
        if self.form is None:
            return EMPTY
        return line((self.form.path.name, "strong"), (" * modified" if self.form.is_modified else "", "warn"))

    def lay_out(self) -> None:
        """Everything that the form says."""
        if not self.is_mounted or not self.query("#form"):
            return
        sheet = self.query_one("#form", Sheet)
        if self.has_class("-begin") and self.form is not None:
            self.call_after_refresh(self.lay_out)  # what is shown from now on has no width yet
        self.set_class(self.form is None, "-begin")
        if self.form is None:
            self.show_beginnings(sheet)
            self._tell_about(sheet.chosen)
            return
        form = self.form
        sheet.border_title = f"{form.path.name}{' * modified' if form.is_modified else ''}"
        sheet.border_subtitle = f"/{self.pattern}" if self.pattern else ("set keys" if self.only_set else None)
        sheet.show([Row(*row) for row in rows.form_rows(form, self.pattern, sheet.room, only_set=self.only_set)])
        beside = self.query_one("#plan", Sheet)
        beside.show(rows.verdict_lines(form.verdict, self.planned, beside.room))
        self._tell_about(sheet.chosen)
        self._tell_difference()

    def _tell_about(self, name: str) -> None:
        sheet = self.query_one("#about", Sheet)
        if self.form is None:
            told = wrap(about_beginning(name), max(20, sheet.room))
            sheet.show([*(line(part) for part in told), line(("Enter begins", "dim"))])
        else:
            sheet.show(rows.about_field(name, self.form.verdict, sheet.room))

    def _tell_difference(self) -> None:
        sheet, form = self.query_one("#difference", Sheet), self.form
        if form is None:
            return
        against = rows.AGAINST[self._against]
        others: Mapping[str, str]
        if against == "file":
            others = Form(form.path, form.text).verdict.values
        elif against == "defaults":
            others = state.values_of(Config())
        else:
            others = self._other
        sheet.border_title = f"Differences to {self._other_name if against == 'run' else 'the ' + against}"
        sheet.show(rows.difference_lines(form.verdict.values, others, sheet.room))

    def change(self, form: Form) -> None:
        """Another form; its plan follows when the typing pauses."""
        is_new = self.form is None or form.verdict != self.form.verdict
        self.form = form
        if is_new:
            self.planned = rows.Planned(is_running=not form.verdict.problems)
            self._make_plan(DEBOUNCE_SECONDS)
        self.lay_out()
        self.look()

    def open_file(self, path: Path) -> None:
        """Show the form of a file, or say why not."""
        try:
            form = state.opened(path, path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
        except OSError as failed:
            self.post_message(Say(f"{path} cannot be read: {failed.strerror}", is_bad=True))
        except UnicodeDecodeError:
            self.post_message(Say(f"{path} is not UTF-8 text", is_bad=True))
        except ConfigError as wrong:
            self.post_message(Say(str(wrong), is_bad=True))
        else:
            self.change(form)

    @on(Sheet.Moved, "#form")
    def moved(self, event: Sheet.Moved) -> None:
        """The cursor stands on another key."""
        self._tell_about(event.key)

    @on(Sheet.Chosen, "#form")
    def chosen(self, event: Sheet.Chosen) -> None:
        """Enter."""
        self.do_edit()

    def do_edit(self) -> None:
        """The chosen key, or the chosen beginning."""
        name = self.query_one("#form", Sheet).chosen
        if self.form is None:
            self.begin_with(name)
            return
        if name not in self.form.verdict.values:
            return
        field, value = field_of(name), self.form.verdict.values[name]
        if field.kind in {"choice", "switch"}:
            dialog: Any = PickDialog(name, rows.choices_of(field), value)
            self.app.push_screen(dialog, lambda picked: self._set(name, picked))
            return
        is_text = field.kind == "text"
        typed = state.plain(value) if is_text else value
        self.app.push_screen(
            AskDialog(name, typed, about=f"{field.help} (must be {field.expected})", judge=self._judge(name)),
            lambda text: self._set(name, None if text is None else state.spelled(text, is_text=is_text), text is None),
        )

    def _judge(self, name: str) -> Any:
        is_text = field_of(name).kind == "text"

        def judge(text: str) -> str:
            if self.form is None:
                return ""
            verdict = state.edited(self.form, name, state.spelled(text, is_text=is_text)).verdict
            return verdict.wrong.get(name, "") or next(iter(verdict.loose), "")

        return judge

    def _set(self, name: str, value: str | None, is_left: bool = False) -> None:
        if self.form is not None and value is not None and not is_left:
            self.change(state.edited(self.form, name, value))

    def do_default(self) -> None:
        """Leave the chosen key out."""
        name = self.query_one("#form", Sheet).chosen
        if self.form is not None and name in self.form.verdict.values:
            self.change(state.reset(self.form, name))

    def do_undo(self) -> None:
        """Take back."""
        if self.form is not None:
            self.change(state.undone(self.form))

    def do_set_only(self) -> None:
        """Fewer rows."""
        self.only_set = not self.only_set
        self.lay_out()

    def do_filter(self) -> None:
        """By name."""
        self.app.push_screen(AskDialog("keys whose name holds", self.pattern), self._filtered)

    def _filtered(self, pattern: str | None) -> None:
        if pattern is not None:
            self.pattern = pattern
            self.lay_out()

    def do_text(self) -> None:
        """The file's text, edits included."""
        if self.form is None:
            return
        form = self.form
        try:
            text = edited_text(form)
        except NotSaved as refused:
            self.post_message(Say(str(refused), is_bad=True))
            return
        self.app.push_screen(TextDialog(form.path.name, text, lambda typed: _broken(form, typed)), self._retyped)

    def _retyped(self, text: str | None) -> None:
        if self.form is not None and text is not None:
            self.change(state.retyped(self.form, text))

    def do_against(self) -> None:
        """File, defaults, an earlier run."""
        self._against = (self._against + 1) % len(rows.AGAINST)
        if rows.AGAINST[self._against] == "run":
            runs = sorted(Path("runs").glob("*/config.toml")) if Path("runs").is_dir() else []
            if not runs:
                self._against = 0
                self.post_message(Say("there is no earlier run in runs/ to compare with"))
            else:
                named = [(str(path), path.parent.name) for path in runs]
                self.app.push_screen(PickDialog("differences to", named), self._compared)
        self.lay_out()

    def _compared(self, path: str | None) -> None:
        if path is None:
            self._against = 0
        else:
            try:
                self._other = state.values_of(resolve(Path(path)).config)
                self._other_name = Path(path).parent.name
            except ConfigError as wrong:
                self._against = 0
                self.post_message(Say(str(wrong), is_bad=True))
        self.lay_out()

    def do_plan(self) -> None:
        """Now."""
        if self.form is not None:
            self._make_plan(0.0)

    @work(exclusive=True, group="plan")
    async def _make_plan(self, pause_seconds: float) -> None:
        """Look at the files and ask for the plan, when nothing was changed for a moment."""
        await asyncio.sleep(pause_seconds)
        form = self.form
        if form is None:
            return
        missing = tuple(await asyncio.to_thread(missing_files, form.verdict.config, form.path.parent))
        if form.verdict.problems or not form.path.is_file():
            self.planned = rows.Planned(file_problems=missing)
            self.lay_out()
            return
        self.planned = rows.Planned(is_running=True, file_problems=missing)
        self.lay_out()
        began = time.monotonic()
        try:
            answer = await plan(form.path, state.overrides_of(form))
        except Refused as refused:
            self.planned = rows.Planned(refusal=str(refused), file_problems=missing)
        else:
            seconds = time.monotonic() - began
            self.planned = rows.Planned(
                answer, seconds=seconds, memory_bytes=memory_of_this_machine(), file_problems=missing
            )
        self.lay_out()

    def do_save(self) -> None:
        """Into the file."""
        if self.form is not None and self.save_form():
            self.post_message(Say(f"{self.form.path} is saved"))

    def save_form(self) -> bool:
        """Write what was changed; False, with a sentence, where that cannot be."""
        if self.form is None or not self.form.is_modified:
            return True
        try:
            text = edited_text(self.form)
            replace_file(self.form.path, text, self.form.digest)
        except NotSaved as refused:
            self.post_message(Say(str(refused), is_bad=True))
            return False
        self.change(state.saved(self.form, text))
        return True

    def do_samples(self) -> None:
        """What would be trained on."""
        if self.form is not None:
            self.post_message(Say("reading the data ..."))
            self._show_samples(self.form)

    @work(exclusive=True, group="samples")
    async def _show_samples(self, form: Form) -> None:
        try:
            document = await preview(form.path, state.overrides_of(form), SAMPLES)
        except Refused as refused:
            self.post_message(Say(str(refused), is_bad=True))
            return
        width = max(20, self.size.width * 96 // 100 - 6)
        self.app.push_screen(LinesDialog("Samples: what stands in ⟦ ⟧ is learnt", sample_lines(document, width)))

    def do_launch(self) -> None:
        """Save, ask, start."""
        if self.form is None:
            return
        wrong = self.form.verdict.problems + len(self.planned.file_problems)
        if wrong:
            self.post_message(Say(f"not launched: {some(wrong, 'problem')} first", is_bad=True))
            return
        config = self.form.verdict.config
        folder = state.run_folder(self.form)
        told = f"start it: {config.parallel.workers or 'all'} workers, into {folder}"
        choices = [("start", told), ("", "not yet")]
        self.app.push_screen(PickDialog(f"launch {self.form.path.name}", choices), self._launched)

    def _launched(self, answer: str | None) -> None:
        if answer == "start" and self.form is not None and self.save_form():
            self.post_message(Say("starting ..."))
            self._start(self.form.path, state.run_folder(self.form))

    @work(exclusive=True, group="launch")
    async def _start(self, path: Path, folder: Path) -> None:
        try:
            self.launched = start_run(path, folder)
            place = await begun(self.launched)
        except Refused as refused:
            self.post_message(Say(str(refused), is_bad=True))
        except OSError as failed:
            self.post_message(Say(f"{folder} cannot be made: {failed.strerror}", is_bad=True))
        else:
            self.app.post_message(Attach(str(place), is_own=True))


def _broken(form: Form, text: str) -> str:
    try:
        state.retyped(form, text)
    except ConfigError as wrong:
        return str(wrong)
    return ""


def memory_of_this_machine() -> int:
    """Bytes; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
