"""Screen 6: which runs are looked at, here and elsewhere; whether there is a way to them, and if not, what mends it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import on

from console.client.hosts import Remote, line_of
from console.client.ssh_target import SCHEME, UNIX, NotATarget, SshTarget
from console.client.targets import Moment, Target
from console.dialogs.ask import AskDialog
from console.messages.intents import Copy, Say
from console.screens.base import BaseScreen
from console.state.hosts import HostRow, Step, host_table, step_lines, transcript_lines
from console.state.spans import Line, line
from console.widgets.sheet import Row, Sheet
from runtime.errors import MlxdError

NOTE = "ssh://[user@]host[:port][/run] is on another machine; a run's folder, or unix:SOCKET, is on this one"


class HostsScreen(BaseScreen):
    """Targets over the check of the chosen one and what ssh said."""

    SCOPE: ClassVar[str] = "hosts"

    def __init__(self) -> None:
        super().__init__()
        self._remotes: dict[str, Remote] = {}
        """By the target's name."""

    def body(self) -> Iterable[Any]:
        """Three sheets."""
        yield Sheet("targets", "Targets")
        yield Sheet("check", "Way", cursor=False)
        yield Sheet("transcript", "ssh, word for word", cursor=False)

    def fact(self, moment: Moment) -> Line:
        """How many of them are heard."""
        targets, now = self.seat.targets.all, time.monotonic()
        live = sum(target.picture.liveness(now) == "live" for target in targets)
        return line((f"{live}/{len(targets)} connected", "good" if live == len(targets) else "warn"))

    def stamp(self) -> object:
        """Other targets change without the current one."""
        now = time.monotonic()
        return [
            (target.name, target.picture.liveness(now), target.feed.trouble, *self._known(target))
            for target in self.seat.targets.all
        ]

    def _known(self, target: Target) -> tuple[object, ...]:
        remote = self._remote(target)
        if remote is None:
            return ()
        return len(remote.checks), remote.is_checking, remote.line.dialled, len(remote.line.transcript)

    def draw(self, moment: Moment) -> None:
        """Fill them."""
        targets = self.seat.targets
        sheet = self.query_one("#targets", Sheet)
        rows = host_table([self._row(target) for target in targets.all], sheet.room)
        sheet.show([Row(rows[0]), *(Row(row, each.name) for row, each in zip(rows[1:], targets.all, strict=True))])
        self._draw_way()

    @on(Sheet.Moved, "#targets")
    def moved(self) -> None:
        """The way is that of another one now."""
        if self.is_mounted:
            self._draw_way()

    @on(Sheet.Chosen, "#targets")
    def chosen(self) -> None:
        """Enter or a second click."""
        self.do_attach()

    def do_attach(self) -> None:
        """Every screen shows it."""
        target = self._chosen()
        if target is not None:
            self.seat.targets.show(target)
            self.post_message(Say(f"every screen shows {target.name} now"))
            self.redraw()

    def do_detach(self) -> None:
        """Stop listening."""
        target = self._chosen()
        if target is None:
            return
        if len(self.seat.targets.all) == 1:
            self.post_message(Say("this is the last target; q leaves the console", is_bad=True))
        else:
            self._remotes.pop(target.name, None)
            self.run_worker(self._let_go(target))

    async def _let_go(self, target: Target) -> None:
        await self.seat.targets.remove(target)
        self.post_message(Say(f"{target.name} is let go; its run does not notice"))
        self.redraw()

    def do_add(self) -> None:
        """Ask for one more."""
        self.run_worker(self._add())

    async def _add(self) -> None:
        text = await self.app.push_screen_wait(AskDialog("Add a target", about=NOTE, judge=self._wrong))
        if text:
            try:
                self.seat.targets.add(self.seat.reach(text))
            except MlxdError as gone:  # since it was typed
                self.post_message(Say(str(gone), is_bad=True))
                return
            self.redraw()
            self.query_one("#targets", Sheet).choose(text)
            if text.startswith(SCHEME):
                self.do_check()

    def _wrong(self, text: str) -> str:
        if any(target.name == text for target in self.seat.targets.all):
            return f"{text} is a target already"
        if text.startswith(SCHEME):
            try:
                SshTarget.parse(text)
            except NotATarget as wrong:
                return str(wrong)
            return ""
        if text.startswith(UNIX):
            return "" if Path(text.removeprefix(UNIX)).is_socket() else f"{text}: there is no such socket"
        there = any((Path(text).expanduser() / name).is_file() for name in ("run.pid", "events.jsonl"))
        return "" if there else f"{text or 'this'} is no run's folder, and no {SCHEME}..."

    def do_check(self) -> None:
        """Walk the way of the chosen one."""
        target = self._chosen()
        remote = self._remote(target) if target is not None else None
        if remote is None:
            self.post_message(Say("a run of this machine has no way to check"))
        elif not remote.is_checking:
            remote.checks = []
            self.run_worker(self._check(remote))
            self.call_later(self._draw_way)

    async def _check(self, remote: Remote) -> None:
        await remote.check()
        self.redraw()

    def do_copy_fix(self) -> None:
        """The command of the step that failed, or of the trouble."""
        target = self._chosen()
        remote = self._remote(target) if target is not None else None
        trouble = remote.line.trouble if remote is not None else None
        failed = next((check for check in remote.checks if check.outcome == "fail"), None) if remote else None
        command = failed.command if failed is not None else trouble.command if trouble is not None else ""
        if command:
            self.post_message(Copy(command, "the fix"))
        else:
            self.post_message(Say("there is no command that mends it", is_bad=True))

    # ---- what is shown

    def _draw_way(self) -> None:
        target = self._chosen()
        if target is None:
            return
        remote = self._remote(target)
        way, transcript = self.query_one("#check", Sheet), self.query_one("#transcript", Sheet)
        checks = remote.checks if remote is not None else []
        steps = [Step(each.number, each.step, each.outcome, each.sentence, each.fix) for each in checks]
        way.titled(f"Way to {target.name}", "c checks again" if steps else "")
        is_checking = remote is not None and remote.is_checking
        way.show(step_lines(steps, target.feed.trouble, way.room, is_checking=is_checking, is_here=remote is None))
        said = remote.line.transcript if remote is not None else ()
        transcript.show(transcript_lines([*said], transcript.size.height, transcript.room))

    def _row(self, target: Target) -> HostRow:
        now, remote = time.monotonic(), self._remote(target)
        greeting = remote.line.greeting if remote is not None else None
        run = target.picture.view.run
        word = f"{run.name} {run.status}" if run.name else ""
        return HostRow(
            name=target.name,
            via="ssh" if remote is not None else "folder" if target.folder is not None else "socket",
            liveness=target.picture.liveness(now),
            age_seconds=target.picture.age_seconds(now),
            may_act=target.may_act and (greeting is None or greeting.may_act),
            version=greeting.version if greeting is not None else run.version,
            round_trip_seconds=greeting.round_trip_seconds if greeting is not None else None,
            run=word,
            bytes_per_second=remote.bytes_per_second if remote is not None else None,
            trouble=target.feed.trouble,
            is_current=target is self.seat.targets.current,
        )

    def _remote(self, target: Target) -> Remote | None:
        line_there = line_of(target)
        if line_there is None:
            return None
        return self._remotes.setdefault(target.name, Remote(line_there))

    def _chosen(self) -> Target | None:
        key = self.query_one("#targets", Sheet).chosen
        return next((target for target in self.seat.targets.all if target.name == key), self.seat.targets.current)
