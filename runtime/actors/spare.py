"""Processes started ahead of need: a replacement that has its imports done joins in a moment and not in seconds.

A spare is a child like any other, spawned before anybody knows whose place it will take. It says Hello into its pipe,
where the frame waits until somebody reads it, and does nothing until an order tells it who it is.
"""

from __future__ import annotations

import signal

import trio

from runtime.actors.actor import Context
from runtime.actors.process import ProcessSpec
from runtime.actors.spawn import Spawned, spawn

PAUSE_SECONDS = 1.0
"""Between the loss of a spare and its successor: whoever took it is just starting up and needs the cores."""
MAX_EARLY_DEATHS = 5
"""Spares that die by themselves, one after the other, before the shelf stays empty: something is wrong with them."""


class SpareShelf:
    """An actor that keeps up to `count` started processes. Without a spare, a start is merely slower."""

    def __init__(
        self, spec: ProcessSpec, count: int, begin: trio.Event, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        """Nothing is started before `begin`: at the start of a run the cores belong to those who start it."""
        self.spec, self.count, self._begin, self._pause_seconds = spec, count, begin, pause_seconds
        self.gave_up = trio.Event()
        """Set when spares keep dying by themselves: none is started any more."""
        self._waiting: list[Spawned] = []
        self._changed = trio.Event()

    def take(self) -> Spawned | None:
        """A living spare, now the caller's to run and to close; None when there is none."""
        spare = next((spare for spare in self._waiting if spare.process.returncode is None), None)
        if spare is not None:
            self._waiting.remove(spare)
            self._changed.set()
        return spare

    @property
    def waiting(self) -> int:
        """Spares on the shelf."""
        return len(self._waiting)

    async def __call__(self, ctx: Context[None]) -> None:
        """Keep the shelf filled until asked to stop; then nothing of it is left alive."""
        ctx.ready()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fill, nursery)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            for spare in self._waiting:
                await self._discard(spare)
            self._waiting.clear()

    async def _fill(self, nursery: trio.Nursery) -> None:
        await self._begin.wait()
        early_deaths = 0
        while early_deaths < MAX_EARLY_DEATHS:
            while len(self._waiting) < self.count:
                spare = await spawn(self.spec.argv, self.spec.env, self.spec.folder, 0)
                self._waiting.append(spare)
                nursery.start_soon(self._watch, spare)
            self._changed = trio.Event()
            await self._changed.wait()
            dead = [spare for spare in self._waiting if spare.process.returncode is not None]
            early_deaths = early_deaths + len(dead) if dead else 0
            for spare in dead:
                self._waiting.remove(spare)
                await self._discard(spare)
            await trio.sleep(self._pause_seconds)

        self.gave_up.set()

    async def _watch(self, spare: Spawned) -> None:
        """Notice the death of a spare that nobody has taken."""
        await spare.process.wait()
        if spare in self._waiting:
            self._changed.set()

    async def _discard(self, spare: Spawned) -> None:
        spare.signal_group(signal.SIGKILL)
        with trio.move_on_after(self.spec.reap_seconds, shield=True):
            await spare.process.wait()
        await spare.close()
