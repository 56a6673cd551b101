"""The runs that a console looks at: several at once, each with its own feed, one of them on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from console.client.feeds import Control, Feed, no_control
from console.client.home import Home, HomeHere
from console.client.picture import Liveness, Picture
from console.client.stream import Where
from runtime.view.cards import RunView


@dataclass(eq=False)
class Target:
    """One run, here or elsewhere."""

    name: str
    """As the user typed it, short: `runs/quickstart`, `ssh://lab-m4/sft`."""
    feed: Feed
    folder: Path | None = None
    """Of this machine; None for a run elsewhere."""
    may_act: bool = False
    """Whether this console may change the run, not only look at it."""
    control: Control = no_control
    where: Where | None = None
    """Where its monitor listens, for the logs of a run elsewhere."""
    home: Home | None = None
    """Where its folder lies, for commands about its files; None where there is no way to it."""
    come_back: str = ""
    """The command that opens this console again."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.home is None and self.folder is not None:
            self.home = HomeHere(self.folder)

    @property
    def picture(self) -> Picture:
        """What is known of the run."""
        return self.feed.picture


class Moment(NamedTuple):
    """Everything that a screen draws from, at one time."""

    target: Target
    view: RunView
    picture: Picture
    liveness: Liveness
    age_seconds: float | None
    now_seconds: float
    """Unix time by the run's own clock; of the last fact, where a journal is shown."""

    @property
    def is_believable(self) -> bool:
        """Whether what is shown is how things are, or how they were at the moment that is shown."""
        return self.liveness in {"live", "replay"}


class Targets:
    """Belongs to one asyncio loop. Targets are added and removed at any time; the current one is always one of them."""

    def __init__(self, targets: Sequence[Target] = ()) -> None:
        self.all: list[Target] = []
        self.current: Target | None = None
        self._runs = False
        for target in targets:
            self.add(target)

    def add(self, target: Target) -> None:
        """One more; it becomes the current one if it is the first."""
        self.all.append(target)
        self.current = self.current or target
        if self._runs:
            target.task = asyncio.create_task(target.feed.run(), name=f"feed of {target.name}")

    async def remove(self, target: Target) -> None:
        """Stop listening to it; the run itself does not notice."""
        place = self.all.index(target)
        self.all.remove(target)
        if self.current is target:
            self.current = self.all[min(place, len(self.all) - 1)] if self.all else None
        await _ended(target)

    def show(self, target: Target) -> None:
        """Make it the current one."""
        self.current = target

    def next(self, by: int = 1) -> None:
        """The next one, round and round."""
        if self.current is not None:
            self.current = self.all[(self.all.index(self.current) + by) % len(self.all)]

    def start(self) -> None:
        """Begin to listen to all of them."""
        self._runs = True
        for target in self.all:
            target.task = asyncio.create_task(target.feed.run(), name=f"feed of {target.name}")

    async def stop(self) -> None:
        """Stop listening to all of them."""
        self._runs = False
        for target in self.all:
            await _ended(target)

    def moment(self, monotonic_seconds: float, wall_seconds: float) -> Moment | None:
        """What there is to draw now; None without any target."""
        return moment_of(self.current, monotonic_seconds, wall_seconds) if self.current is not None else None


def moment_of(target: Target, monotonic_seconds: float, wall_seconds: float) -> Moment:
    """The present moment of a target, by its own clock."""
    picture = target.picture
    liveness = picture.liveness(monotonic_seconds)
    age = picture.age_seconds(monotonic_seconds)
    now = wall_seconds + picture.clock_offset_seconds
    if picture.is_journal:
        now = picture.told_seconds
    elif liveness == "stale" and age is not None:
        now -= age  # what is shown is of then
    return Moment(target, picture.view, picture, liveness, age, now)


async def _ended(target: Target) -> None:
    if target.task is not None:
        target.task.cancel()
        await asyncio.wait([target.task])
        target.task = None
