"""What keeps a picture up to date: a run of this machine, followed live or by its journal; a stream; a replay.

A feed has `picture`, `trouble` (one sentence; empty where all is well) and `run`, which never ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

from mlxd_wire import monitor_pb2 as pb

from console.client.folder import FACTS_AT_ONCE, RunFolder, aside
from console.client.picture import Picture
from console.client.stream import RunStream, Where, control_of, monitor_of
from console.client.wire import Unreachable
from runtime.view.metrics import names

LOOK_SECONDS = 1.0
ALWAYS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "axis/*", "*/loss")
"""Curves that every screen may draw; of a monitor others are asked for only while they are visible."""
MOST_CURVES = 32
"""A run with more: those that are visible, also from its journal."""
Control = Callable[[], Awaitable[str]]
"""The address of a run's Control service, for actions. Raises Unreachable where there is none."""


class Feed(Protocol):
    """Somebody who knows a run."""

    @property
    def picture(self) -> Picture:
        """What is known so far; always the same object."""

    @property
    def trouble(self) -> str:
        """Why nothing new comes, one sentence; empty where something does."""

    def watch(self, metrics: Iterable[str]) -> None:
        """These curves are visible now, beside those that always are."""

    async def run(self) -> None:
        """Keep the picture up to date until cancelled."""


class StreamFeed:
    """A run as its monitor tells it, wherever `where` finds that."""

    def __init__(self, where: Where) -> None:
        self.picture = Picture()
        self.stream = RunStream(where, want_all(), self.picture)

    @property
    def trouble(self) -> str:
        """Why there is no connection."""
        return self.stream.trouble

    def watch(self, metrics: Iterable[str]) -> None:
        """Ask the monitor for them."""
        self.stream.watch(dict.fromkeys((*ALWAYS, *metrics)))

    async def run(self) -> None:
        """Listen, and connect again."""
        await self.stream.run(lambda picture, events: None)


class FolderFeed:
    """A run's folder on this machine: its monitor while it lives, its journal while it does not."""

    def __init__(self, folder: Path, is_alive: Callable[[], bool]) -> None:
        """`is_alive` says whether a process of this machine drives the run now: a killed one leaves its socket."""
        self.picture = Picture()
        self._folder, self._is_alive = folder, is_alive
        self._journal = RunFolder(folder, picture=self.picture)
        self._stream = RunStream(monitor_of(folder), want_all(), self.picture)
        self._watched: tuple[str, ...] = ALWAYS
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """What is wrong with the journal or with the connection."""
        return self._trouble or self._stream.trouble

    def watch(self, metrics: Iterable[str]) -> None:
        """Ask the monitor for them; from a journal all are known at once, unless there are many."""
        self._watched = tuple(dict.fromkeys((*ALWAYS, *metrics)))
        self._stream.watch(self._watched)

    async def run(self) -> None:
        """Follow the monitor; when the run has none any more, its journal, until the run is resumed."""
        listening: asyncio.Task[None] | None = None
        try:
            while True:
                self.picture.expects_monitor = self._has_control() and self._is_alive()
                if not self.picture.expects_monitor:
                    if listening is not None:
                        listening.cancel()
                    listening = None
                    self._stream.trouble = ""
                    await self._look(until=lambda: False)
                elif listening is None:
                    listening = asyncio.create_task(self._stream.run(lambda picture, events: None))
                    if not self.picture.has_rows:  # something to see while a monitor starts
                        await self._look(until=lambda: self.picture.has_rows)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if listening is not None:
                listening.cancel()

    def _has_control(self) -> bool:
        try:
            return bool(control_of(self._folder))
        except Unreachable:
            return False

    async def _look(self, *, until: Callable[[], bool]) -> None:
        """Take in the journal in small pieces, so that keys are answered meanwhile; not shown once `until` is true."""
        try:
            while self._journal.take(FACTS_AT_ONCE):
                self.picture.read_share = self._journal.share
                await aside()
                if until():
                    return
            has_many = len(names(self._journal.state)) > MOST_CURVES
            self._journal.watch(self._watched if has_many else ("*",))
            self._journal.show()
        except OSError as failed:
            self._trouble = f"{self._folder}/events.jsonl cannot be read: {failed.strerror}"
        else:
            self._trouble = self._journal.complaint
        finally:
            self.picture.read_share = None


def want_all() -> pb.Want:
    """Every row, every event, the curves that are always wanted, once a second."""
    return pb.Want(metrics=ALWAYS, events=True, max_hz=1.0)


def control_in(folder: Path) -> Control:
    """The control socket of a run of this machine."""

    async def control() -> str:
        return control_of(folder)

    return control


async def no_control() -> str:
    """Of a run that only can be looked at. Raises Unreachable, always."""
    raise Unreachable("there is no way to steer this run: it is shown from its journal")
