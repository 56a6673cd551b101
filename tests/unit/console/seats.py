"""A console over a run's journal, without a terminal: what every test of a screen starts from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from console.app import ConsoleApp
from console.client.feeds import FolderFeed
from console.client.targets import Target, Targets
from console.state.terminal import Terminal, ThemeName
from runtime.events import Envelope, Event
from runtime.events.journal import encode_line
from runtime.ids import ActorPath

BEGAN_SECONDS = 1_700_000_000.0


def written(folder: Path, told: Iterable[Event]) -> Path:
    """A run's folder that holds these facts, one a second."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("ab") as file:
        for seq, fact in enumerate(told, 1):
            file.write(encode_line(Envelope(seq, BEGAN_SECONDS + seq, ActorPath("run"), fact)))
    return folder


def target(folder: Path, *, may_act: bool = False) -> Target:
    """The run in that folder, as a console looks at it."""
    name = f"runs/{folder.name}"
    return Target(name, FolderFeed(folder, lambda: False), folder, may_act, come_back=f"mlx-distributed console {name}")


@asynccontextmanager
async def console(
    *targets: Target,
    size: tuple[int, int] = (100, 30),
    theme: ThemeName = "dark",
    has_unicode: bool = True,
) -> AsyncIterator[tuple[ConsoleApp, Pilot[None]]]:
    """The app with these targets, at rest after its first look at them."""
    app = ConsoleApp(Targets(targets), Terminal(theme, has_unicode))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.tick()
        await pilot.pause()
        yield app, pilot


async def settled(pilot: Pilot[None]) -> None:
    """All that was asked for is drawn: what is called after a refresh may ask for another one."""
    for _ in range(4):
        await pilot.pause()


def in_console(test: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine function as a test: pytest's own loop here is trio's."""
    asyncio.run(test())


def shown(app: ConsoleApp) -> str:
    """The letters on the screen, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips[:height] if width)


async def until(app: ConsoleApp, pilot: Pilot[None], words: str) -> str:
    """Wait until the screen, or a sentence that came over it, says so; returns both."""
    while True:
        text = "\n".join([shown(app), *(each.message for each in app._notifications)])
        if words in text:
            return text
        app.tick()
        await pilot.pause(0.02)
