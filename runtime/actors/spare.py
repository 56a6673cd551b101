"""Processes started ahead of need: a replacement that has its imports done joins in a moment and not in seconds.

A spare is a child like any other, spawned before anybody knows whose place it will take. It says Hello, and with a
first Report that everything is loaded; then it does nothing until an order tells it who it is. What it said until then
is kept for whoever takes it.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from runtime.actors.actor import Context
from runtime.actors.frames import FrameError, Report
from runtime.actors.process import ProcessSpec, signal_name
from runtime.actors.spawn import Spawned, spawn
from runtime.events.supervision import SpareLost, SpareReady

EQUIPPED = "equipped"
"""The kind of a spare's first Report: it has loaded what it can load before it knows its rank."""
PAUSE_SECONDS = 1.0
"""Between the death of a spare that nobody had taken and its successor."""
MAX_EARLY_DEATHS = 5
"""Spares that die by themselves, one after the other, before the shelf stays empty: something is wrong with them."""
_READ_BYTES = 65536


@dataclass(eq=False)
class _Waiting:
    """A spare on the shelf."""

    spare: Spawned
    attention: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Of the task that listens to it; cancelled when it is taken."""
    is_ready: bool = False

    @property
    def is_alive(self) -> bool:
        return self.spare.process.returncode is None


class SpareShelf:
    """An actor that keeps up to `count` started processes. Without a spare, a start is merely slower."""

    def __init__(
        self,
        spec: ProcessSpec,
        count: int,
        quiet: Callable[[], Awaitable[None]],
        *,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """A spare is started when `quiet()` returns: as long as somebody starts or heals, the cores are theirs."""
        self.spec, self.count, self._quiet, self._pause_seconds = spec, count, quiet, pause_seconds
        self.gave_up = trio.Event()
        """Set when spares keep dying by themselves: none is started any more."""
        self._waiting: list[_Waiting] = []
        self._changed = trio.Event()

    def take(self) -> Spawned | None:
        """A living spare, one that is ready if there is one, now the caller's to run and to close; else None."""
        alive = [waiting for waiting in self._waiting if waiting.is_alive]
        taken = next((waiting for waiting in alive if waiting.is_ready), alive[0] if alive else None)
        if taken is None:
            return None
        self._waiting.remove(taken)
        taken.attention.cancel()
        self._changed.set()
        return taken.spare

    @property
    def waiting(self) -> int:
        """Spares on the shelf."""
        return len(self._waiting)

    async def __call__(self, ctx: Context[None]) -> None:
        """Keep the shelf filled until asked to stop; then nothing of it is left alive."""
        ctx.ready()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fill, ctx, nursery)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            for waiting in self._waiting:
                await self._discard(waiting.spare)
            self._waiting.clear()

    async def _fill(self, ctx: Context[None], nursery: trio.Nursery) -> None:
        early_deaths = 0
        while early_deaths < MAX_EARLY_DEATHS:
            self._changed = trio.Event()
            if len(self._waiting) < self.count:
                await self._quiet()
                waiting = _Waiting(await spawn(self.spec.argv, self.spec.env, self.spec.folder, 0))
                self._waiting.append(waiting)
                nursery.start_soon(self._attend, ctx, waiting)
                continue
            await self._changed.wait()
            dead = [waiting for waiting in self._waiting if not waiting.is_alive]
            early_deaths = early_deaths + len(dead) if dead else 0
            for waiting in dead:
                self._waiting.remove(waiting)
                ctx.emit(SpareLost(waiting.spare.pid, _how_it_ended(waiting.spare)))
                await self._discard(waiting.spare)
            if dead:
                await trio.sleep(self._pause_seconds)
        self.gave_up.set()

    async def _attend(self, ctx: Context[None], waiting: _Waiting) -> None:
        """Hear when a spare is ready, and notice the death of one that nobody has taken."""
        with waiting.attention:
            await self._hear(ctx, waiting)
            await waiting.spare.process.wait()
        if waiting in self._waiting:
            self._changed.set()

    async def _hear(self, ctx: Context[None], waiting: _Waiting) -> None:
        began_at, spare = trio.current_time(), waiting.spare
        async with spare.reading:
            while not waiting.is_ready:
                chunk = await spare.frames.receive_some(_READ_BYTES)
                if not chunk:
                    return  # it is dying
                try:
                    spare.heard += spare.decoder.feed(chunk)
                except FrameError:  # whatever it is, it is no spare of ours
                    spare.signal_group(signal.SIGKILL)
                    return
                waiting.is_ready = any(isinstance(frame, Report) and frame.kind == EQUIPPED for frame in spare.heard)
        ctx.emit(SpareReady(spare.pid, trio.current_time() - began_at))

    async def _discard(self, spare: Spawned) -> None:
        spare.signal_group(signal.SIGKILL)
        with trio.move_on_after(self.spec.reap_seconds, shield=True):
            await spare.process.wait()
        await spare.close()


def _how_it_ended(spare: Spawned) -> str:
    code = spare.process.returncode or 0
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit code {code}"
