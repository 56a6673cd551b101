"""Screen 4: what was saved, whether it is whole, and how to go on from it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on

from console.client.children import Refused, begun, start
from console.client.commands import Done
from console.client.home import Home
from console.client.targets import Moment, Target
from console.dialogs.ask import AskDialog
from console.dialogs.pick import PickDialog
from console.messages.intents import Attach, Copy, Say
from console.screens.base import BaseScreen
from console.state.figures import size
from console.state.shelf import (
    Shelf,
    begin_choices,
    detail_lines,
    fork_command,
    on_disk,
    resume_command,
    shelf_rows,
    verified_of,
)
from console.state.spans import Line, line
from console.widgets.sheet import Row, Sheet
from runtime.view.cards import CheckpointCard


class CheckpointsScreen(BaseScreen):
    """A list, and what is known of the chosen one."""

    SCOPE: ClassVar[str] = "checkpoints"

    def __init__(self) -> None:
        super().__init__()
        self._shelf = Shelf()
        self._listed: tuple[Target, tuple[str, ...]] | None = None
        """Of whom, and with which checkpoints, the disk was asked last."""
        self._busy = ""
        """Which command is under way."""

    def body(self) -> Iterable[Any]:
        """Two sheets."""
        yield Sheet("shelf", "Checkpoints")
        yield Sheet("saved", "Chosen", cursor=False)

    def stamp(self) -> object:
        """What was found out, and what is being found out."""
        return id(self._shelf), self._busy

    def draw(self, moment: Moment) -> None:
        """Fill them; ask the disk where the journal tells of others than before."""
        known = (moment.target, tuple(moment.view.checkpoints))
        if known != self._listed:
            if self._listed is not None and self._listed[0] is not moment.target:
                self._shelf = Shelf()
            self._listed = known
            self._run("", ["list", "--json"], self._list)
        sheet = self.query_one("#shelf", Sheet)
        sheet.show([Row(*row) for row in shelf_rows(moment.view, self._shelf, sheet.room)])
        self._draw_chosen()

    def fact(self, moment: Moment) -> Line:
        """What they take on disk, or what is under way."""
        if self._busy:
            return line((f"{self._busy} ...", "accent"))
        used = sum(card.size_bytes for card in moment.view.checkpoints.values() if card.state == "committed")
        free = [host.disk_free_bytes for host in moment.view.hosts.values() if host.disk_free_bytes is not None]
        return line(("used ", "dim"), size(used), ("  free ", "dim") if free else "", size(min(free)) if free else "")

    @on(Sheet.Moved, "#shelf")
    def moved(self) -> None:
        """Another one."""
        self._draw_chosen()

    def do_resume(self) -> None:
        """A run that goes on from here."""
        self._with_chosen(self._ask_begin, resume_command)

    def do_fork(self) -> None:
        """The same, under another name."""
        self._with_chosen(self._ask_begin, fork_command)

    def do_verify(self) -> None:
        """Every byte."""
        self._run("verifying", ["verify", "--json"], self._verified)

    def do_export(self) -> None:
        """Ask whereto."""
        self._with_chosen(self._ask_export)

    def do_pin(self) -> None:
        """Pin it, or no longer."""
        self._with_chosen(self._pin)

    def do_delete(self) -> None:
        """Ask for its name."""
        self._with_chosen(self._ask_delete)

    def _chosen(self) -> CheckpointCard | None:
        key = self.query_one("#shelf", Sheet).chosen
        return self.moment.view.checkpoints.get(key) if self.moment else None

    def _with_chosen(self, act: Callable[..., None], *more: Any) -> None:
        card = self._chosen()
        if card is None or card.state != "committed":
            self.post_message(Say("no whole checkpoint is chosen", is_bad=True))
        else:
            act(card, *more)

    def _typed(self, card: CheckpointCard, made: Callable[..., str]) -> str:
        """What a person types here to have a command run where the run's folder lies."""
        moment = self.moment
        home = moment.target.home if moment is not None else None
        if moment is None or home is None:
            return ""
        folder = moment.target.name if moment.target.folder is not None else home.folder or "RUN"
        return home.by_hand(made(card, moment.view, folder, is_far=home.is_far))

    def _ask_begin(self, card: CheckpointCard, made: Callable[..., str]) -> None:
        """Start the command here, or copy it; a console that may only look, or looks at another machine, copies it."""
        if self.moment is None:
            return
        target, told = self.moment.target, self._typed(card, made)
        if target.folder is None or not target.may_act:
            self.post_message(Copy(told, "the command"))
            return
        folder = target.folder

        def answered(answer: str | None) -> None:
            if answer == "copy":
                self.post_message(Copy(told, "the command"))
            elif answer == "start":
                self.post_message(Say(f"starting from step {card.step} ..."))
                self.run_worker(self._begin(told, folder), group="begin", exclusive=True)

        is_live = self.moment.liveness == "live" and not self.moment.view.run.outcome
        choices = begin_choices(card, target.name, is_live=is_live)
        self.app.push_screen(PickDialog(f"train on from step {card.step}", choices), answered)

    async def _begin(self, told: str, folder: Path) -> None:
        try:
            place = await begun(start(shlex.split(told)[1:], folder))
        except Refused as refused:
            self.post_message(Say(str(refused), is_bad=True))
        except OSError as failed:
            self.post_message(Say(f"it cannot be started: {failed.strerror}", is_bad=True))
        else:
            self.app.post_message(Attach(str(place), is_own=True))

    def _ask_export(self, card: CheckpointCard) -> None:
        name = f"{self.moment.view.run.name or 'model'}-{card.step}" if self.moment else "model"

        def answered(target: str | None) -> None:
            if target:
                self._run("exporting", ["export", target, "--step", str(card.step)], self._said)

        self.app.push_screen(AskDialog("Export", name, about="a folder that does not exist yet, or is empty"), answered)

    def _pin(self, card: CheckpointCard) -> None:
        disk = self._shelf.disk.get(card.step)
        words = ["pin", "--step", str(card.step), *(["--off"] if disk is not None and disk.pinned else [])]
        self._run("pinning", words, self._changed)

    def _ask_delete(self, card: CheckpointCard) -> None:
        name = card.path.rpartition("/")[2]

        def answered(typed: str | None) -> None:
            if typed == name:
                self._run("deleting", ["delete", "--step", str(card.step)], self._changed)

        about = f"type {name} to delete it for good; the run can never go on from it again"
        judge = partial(_judged, name)
        self.app.push_screen(AskDialog("Delete a checkpoint", about=about, judge=judge), answered)

    def _run(self, busy: str, words: Sequence[str], then: Callable[[Done], None]) -> None:
        moment = self.seat.moment()
        home = moment.target.home if moment is not None else None
        if home is None:
            if busy:
                self.post_message(Say("there is no way to the folder of this run from here", is_bad=True))
            return
        if self._busy and busy:
            self.post_message(Say(f"{self._busy} is still under way"))
            return
        self.run_worker(self._work(busy, home, words, then))

    async def _work(self, busy: str, home: Home, words: Sequence[str], then: Callable[[Done], None]) -> None:
        self._busy = busy or self._busy
        self.look()
        which, *rest = words
        done = await home.command("checkpoints", which, *rest)
        if busy:
            self._busy = ""
        then(done)
        self.redraw()

    def _list(self, done: Done) -> None:
        try:
            self._shelf = replace(self._shelf, disk=on_disk(done.out)) if done.code == 0 else self._shelf
        except (ValueError, TypeError, KeyError):
            self.post_message(Say("the list of checkpoints cannot be read", is_bad=True))

    def _verified(self, done: Done) -> None:
        try:
            found = verified_of(done.out)
        except (ValueError, TypeError, KeyError):
            self._said(done)
            return
        self._shelf = replace(self._shelf, verified=found)
        broken = sum(bool(wrong) for wrong in found.values())
        told = f"{broken} of {len(found)} are broken" if broken else f"all {len(found)} are whole, to the last byte"
        self.post_message(Say(told, is_bad=bool(broken)))

    def _changed(self, done: Done) -> None:
        self._said(done)
        self._listed = None

    def _said(self, done: Done) -> None:
        self.post_message(Say(done.sentence, is_bad=done.code != 0))

    def _draw_chosen(self) -> None:
        moment, card = self.moment, self._chosen()
        if moment is not None:
            sheet = self.query_one("#saved", Sheet)
            sheet.titled(card.path.rpartition("/")[2] if card else "Chosen")
            resume = self._typed(card, resume_command) if card is not None else ""
            sheet.show(detail_lines(card, self._shelf, resume, sheet.room))


def _judged(name: str, typed: str) -> str:
    return "" if typed == name else f"not yet {name}"
