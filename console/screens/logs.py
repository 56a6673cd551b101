"""Screen 5: what all processes say, and what happened, in one list by time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on

from console.client.logs import FolderLogs, Logs, StreamedLogs
from console.client.targets import Moment, Target
from console.dialogs.ask import AskDialog
from console.messages.intents import Go, Say
from console.screens.base import BaseScreen
from console.state.logbook import (
    EVENTS,
    MARK,
    Entry,
    Filter,
    compiled,
    entries_of,
    next_level,
    next_trouble,
    record_lines,
    row_of,
    sources_of,
)
from console.state.spans import EMPTY, Line, Span, joined, line, text_of
from console.widgets.sheet import Row, Sheet

_MOST_SOURCE = 12
_RECORD_LINES = 3
_ABOUT_FILTER = "only lines in which this regular expression is found; with ! in front those in which it is not"


class LogsScreen(BaseScreen):
    """One sheet of lines, and the chosen line in full below it."""

    SCOPE: ClassVar[str] = "logs"

    def __init__(self) -> None:
        super().__init__()
        self._filter = Filter()
        self._marks: list[float] = []
        self._logs: Logs | None = None
        self._of: Target | None = None
        self._listening: asyncio.Task[None] | None = None
        self._entries: list[Entry] = []
        """All of them."""
        self._shown: list[Entry] = []
        self._wanted_key = ""
        """Where somebody wants the cursor as soon as it is there."""

    def body(self) -> Iterable[Any]:
        """Two sheets."""
        yield Sheet("lines", "Logs and events")
        yield Sheet("record", "Line", cursor=False)

    def stamp(self) -> object:
        """The logs have their own pace."""
        return (self._logs.version if self._logs else 0), self._filter, len(self._marks)

    def on_screen_resume(self) -> None:
        """Listen to the logs while this screen is in front."""
        self._listen()

    def on_screen_suspend(self) -> None:
        """Nobody reads: nobody listens."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def arrive(self, at: Mapping[str, Any]) -> None:
        """Show one `source` alone, or the fact `seq` among all."""
        self._filter = Filter(source=at.get("source", ""))
        self._wanted_key = f"event:{at['seq']}" if "seq" in at else ""
        self.redraw()

    def draw(self, moment: Moment) -> None:
        """Fill them; the cursor goes with the newest line while it stands on it."""
        if moment.target is not self._of:
            self._listen()
        logs = self._logs.lines if self._logs else ()
        self._entries = entries_of(logs, moment.picture.events, self._marks)
        self._shown = [entry for entry in self._entries if self._filter.takes(entry)]
        sheet = self.query_one("#lines", Sheet)
        follows = not sheet.rows or sheet.chosen == sheet.rows[-1].key or not sheet.chosen
        width = min(_MOST_SOURCE, max((len(name) for name in sources_of(self._entries)), default=0))
        room = sheet.room
        rows = [Row(row_of(entry, room, width), entry.key) for entry in self._shown]
        sheet.titled("Logs and events", self._filter.told())
        sheet.show(rows)
        if self._wanted_key and sheet.choose(self._wanted_key):
            self._wanted_key = ""
        elif follows:
            sheet.action_end(1)
        self._draw_record()

    def fact(self, moment: Moment) -> Line:
        """How many lines there are, and whether they run along."""
        skipped = self._logs.skipped if self._logs else 0
        trouble = self._logs.trouble if self._logs else ""
        lines = self.query_one("#lines", Sheet)
        below = 0
        if lines.chosen and (place := lines.place_of(lines.chosen)) is not None:
            below = len(lines.rows) - 1 - place
        return joined(
            [
                line((trouble, "warn")),
                line((f"{skipped} skipped", "warn")) if skipped else EMPTY,
                line((f"{len(self._shown)} of {len(self._entries)}", "dim")),
                line((f"PAUSED, {below} below", "warn")) if below else line(("following", "good")),
            ],
            Span("  "),
        )

    @on(Sheet.Moved, "#lines")
    def moved(self) -> None:
        """Another line in full."""
        self._draw_record()
        self.draw_heading()

    @on(Sheet.Chosen, "#lines")
    def jump(self, chosen: Sheet.Chosen) -> None:
        """From a line to the node of the tree that said it."""
        entry = self._entry(chosen.key)
        view = self.moment.view if self.moment else None
        if entry is None or view is None:
            return
        paths = [path for path in view.nodes if path.rpartition("/")[2] == entry.source]
        if entry.source in {EVENTS, MARK} or not paths:
            self.post_message(Say("this line has no node in the tree"))
        else:
            self.post_message(Go("overview", node=paths[0]))

    def do_filter(self) -> None:
        """Ask for a pattern."""
        self.app.push_screen(
            AskDialog("Filter", self._filter.pattern, about=_ABOUT_FILTER, judge=_judged), self._filtered
        )

    def do_follow(self) -> None:
        """To the end."""
        self.query_one("#lines", Sheet).action_end(1)

    def do_next_trouble(self) -> None:
        """Forward."""
        self._to_trouble(1)

    def do_last_trouble(self) -> None:
        """Backward."""
        self._to_trouble(-1)

    def do_level(self) -> None:
        """The next level."""
        self._change(level=next_level(self._filter.level))

    def do_source(self) -> None:
        """The next source, and all again after the last."""
        names = ["", *sources_of(self._entries)]
        here = names.index(self._filter.source) if self._filter.source in names else 0
        self._change(source=names[(here + 1) % len(names)])

    def do_events(self) -> None:
        """With or without the run's facts."""
        self._change(events=not self._filter.events)

    def do_clear(self) -> None:
        """Everything again."""
        self._filter = Filter()
        self.redraw()

    def do_mark(self) -> None:
        """A line across."""
        if self.moment is not None:
            self._marks.append(max(self.moment.now_seconds, self._entries[-1].seconds if self._entries else 0.0))
            self.redraw()

    def do_save(self) -> None:
        """What is shown, as text."""
        name = Path(self.moment.target.name).name if self.moment else "run"
        path = Path(f"{name or 'run'}-logs.txt")
        number = 1
        while path.exists():
            number += 1
            path = path.with_name(f"{name or 'run'}-logs-{number}.txt")
        text = "\n".join(text_of(row_of(entry, 1000, _MOST_SOURCE)) for entry in self._shown)
        try:
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as failed:
            self.post_message(Say(f"{path} cannot be written: {failed.strerror}", is_bad=True))
        else:
            self.post_message(Say(f"{len(self._shown)} lines are in {path}"))

    def _filtered(self, pattern: str | None) -> None:
        if pattern is None or _judged(pattern):
            return
        self._change(pattern=pattern, matcher=compiled(pattern))

    def _change(self, **changes: Any) -> None:
        self._filter = dataclasses.replace(self._filter, **changes)
        self.redraw()

    def _to_trouble(self, by: int) -> None:
        sheet = self.query_one("#lines", Sheet)
        key = next_trouble(self._shown, sheet.chosen, by)
        if not (key and sheet.choose(key)):
            self.post_message(Say("there is no warning and no error in what is shown"))

    def _entry(self, key: str) -> Entry | None:
        return next((entry for entry in self._shown if entry.key == key), None)

    def _draw_record(self) -> None:
        sheet = self.query_one("#record", Sheet)
        entry = self._entry(self.query_one("#lines", Sheet).chosen)
        sheet.show(record_lines(entry, sheet.room, _RECORD_LINES) if entry else [])

    def _listen(self) -> None:
        """To the logs of the present target, from now on."""
        self.on_screen_suspend()
        moment = self.seat.moment()
        if moment is None:
            return
        target = moment.target
        if target is not self._of:
            self._of, self._logs = target, logs_of(target)
        if self._logs is not None:
            self._listening = asyncio.create_task(self._logs.run(), name=f"logs of {target.name}")


def logs_of(target: Target) -> Logs | None:
    """Who knows the lines of a run; None where nobody does."""
    if target.folder is not None:
        return FolderLogs(target.folder)
    return StreamedLogs(target.where) if target.where is not None else None


def _judged(pattern: str) -> str:
    try:
        compiled(pattern)
    except ValueError as wrong:
        return str(wrong)
    return ""
