"""A child process as an actor: spawn, handshake, frames both ways, and a ladder that always ends.

    worker = ProcessActor(ProcessSpec((sys.executable, "-P", "-m", "runtime.app.worker"), log_path=log), hooks)
    ChildSpec("worker-0", worker, address=address)      # address.ref.tell(Order("checkpoint", {...})) reaches the child

It is ready with the child's Hello. Asked to stop, it orders `stop`, then SIGTERM, then SIGKILL, to the whole group;
cancelled, it sends SIGKILL at once. It ends when waitpid says so, and then nothing of the group is left.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import trio

from runtime.actors.actor import Context
from runtime.actors.exit import FatalExit, ProcessExit
from runtime.actors.frames import STOP, Beat, Fact, Frame, FrameError, Hello, Order, Report
from runtime.actors.log import LogDrain
from runtime.actors.spawn import Spawned, spawn
from runtime.errors import ActorDown
from runtime.ids import ActorPath, Incarnation

_READ_BYTES = 65536
_LAST_FRAMES_SECONDS = 5.0
_LAST_OUTPUT_SECONDS = 1.0
"""How long the ends of the pipes are waited for once the whole group is dead: they are there already, and only a busy
parent, or somebody who left the group and kept the output open, makes use of this."""


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, and how long each rung of the ladder lasts."""

    argv: tuple[str, ...]
    """`--incarnation N --frames-in FD --frames-out FD` are appended; see `child.Pipes`."""
    log_path: Path
    """stdout and stderr are appended to this file."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Laid over this process's environment."""
    folder: Path | None = None
    """Working directory; None: this process's."""
    term_after_seconds: float = 10.0
    """From the order to stop until SIGTERM. A child that has not said Hello gets SIGTERM at once: it hears no order."""
    kill_after_seconds: float = 5.0
    """From SIGTERM until SIGKILL."""
    reap_seconds: float = 5.0
    """From SIGKILL until the child is given up as stuck in the kernel."""
    fatal_codes: frozenset[int] = frozenset()
    """Exit codes that no restart cures: they raise FatalExit, to be named in `ChildSpec.fatal`."""

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("a process needs a command line")
        if min(self.term_after_seconds, self.kill_after_seconds, self.reap_seconds) < 0:
            raise ValueError("the ladder's times must not be negative")

    @property
    def stop_budget_seconds(self) -> float:
        """Longest way down the ladder."""
        return self.term_after_seconds + self.kill_after_seconds + self.reap_seconds


@dataclass(frozen=True)
class Source:
    """Where a frame came from."""

    path: ActorPath
    incarnation: Incarnation
    pid: int


class FrameHooks:
    """What to do with a child's frames. Each must return at once; one that raises fails the actor and so the child."""

    def hello(self, source: Source, frame: Hello) -> None:
        """The child is up and attached."""

    def beat(self, source: Source, frame: Beat) -> None:
        """The child says where it is."""

    def fact(self, source: Source, frame: Fact) -> None:
        """Something happened in the child."""

    def report(self, source: Source, frame: Report) -> None:
        """The child says something of a named kind."""


Replacement: TypeAlias = Callable[[Incarnation], Spawned | None]
"""Gives a living process that was started ahead and already told who it is, or None when there is none."""


class ProcessActor:
    """Actor body that runs `spec` as a child process; its inbox takes Orders. One object serves every incarnation.

    Returns when the child exits with 0; otherwise raises ProcessExit (FatalExit for a fatal code) with what happened
    in words and the child's last output.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        hooks: FrameHooks | None = None,
        *,
        replacement: Replacement | None = None,
        replaced_from: int = 2,
    ) -> None:
        """`replacement` may hand out a process that was started ahead, from that incarnation on."""
        self.spec = spec
        self.hooks = hooks or FrameHooks()
        self._replacement, self._replaced_from = replacement, replaced_from

    @property
    def stop_budget_seconds(self) -> float:
        """Longest stop; the supervisor grants at least this."""
        return self.spec.stop_budget_seconds

    async def __call__(self, ctx: Context[Order]) -> None:
        """One incarnation of the process; see the class."""
        spec = self.spec
        ahead = self._replacement if ctx.incarnation >= self._replaced_from else None
        child = ahead(ctx.incarnation) if ahead is not None else None
        if child is None:
            child = await spawn(spec.argv, spec.env, spec.folder, ctx.incarnation)
        await _Run(spec, self.hooks, ctx, child).run()


class _Run:
    """One incarnation: from a spawned child to its exit."""

    def __init__(self, spec: ProcessSpec, hooks: FrameHooks, ctx: Context[Order], child: Spawned) -> None:
        self.spec, self.hooks, self.ctx, self.child = spec, hooks, ctx, child
        self.source = Source(ctx.path, ctx.incarnation, child.pid)
        self.log = LogDrain(spec.log_path)
        self.fault = ""
        self._readers = (trio.CancelScope(shield=True), trio.CancelScope(shield=True))
        self._ends = (trio.Event(), trio.Event())

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_frames)
                nursery.start_soon(self._read_output)
                nursery.start_soon(self.child.orders.run)
                nursery.start_soon(self._send_orders)
                nursery.start_soon(self._descend)
                try:
                    await self.child.process.wait()
                finally:
                    await self._clear_away()
                    nursery.cancel_scope.cancel()
        finally:
            self.ctx.last_words = self.log.tail
            await self.child.close()
            self._demand_that_it_is_dead()  # also after a cancel: nobody may take it for gone
        self._judge()

    async def _clear_away(self) -> None:
        """Kill what is left of the group, reap the child, take its last words; bounded, whatever the child does."""
        self.child.signal_group(signal.SIGKILL)
        with trio.move_on_after(self.spec.reap_seconds, shield=True):
            await self.child.process.wait()
        with trio.move_on_after(_LAST_FRAMES_SECONDS, shield=True):
            await self._ends[1].wait()
        with trio.move_on_after(_LAST_OUTPUT_SECONDS, shield=True):
            await self._ends[0].wait()
        for scope in self._readers:
            scope.cancel()

    async def _read_output(self) -> None:
        with self._readers[0]:  # a cancel must not cost the last words
            await self.log.run(self.child.output)
            self._ends[0].set()

    async def _read_frames(self) -> None:
        child = self.child
        with self._readers[1]:
            try:
                async with child.reading:
                    for frame in child.heard:
                        self._take(frame)
                    while chunk := await child.frames.receive_some(_READ_BYTES):
                        for frame in child.decoder.feed(chunk):
                            self._take(frame)
            except FrameError as error:
                self.fault = f"broke the frame protocol ({error})"
                self.child.signal_group(signal.SIGKILL)
            finally:
                self._ends[1].set()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Hello) is self.ctx.is_ready:
            raise FrameError("said hello twice" if self.ctx.is_ready else "spoke before it said hello")
        match frame:
            case Hello():
                self.hooks.hello(self.source, frame)
                self.ctx.ready(frame)
            case Beat():
                self.ctx.progress(frame.step)
                self.hooks.beat(self.source, frame)
            case Fact():
                self.hooks.fact(self.source, frame)
            case Report():
                self.hooks.report(self.source, frame)
            case Order():
                raise FrameError("a child gives no orders")

    async def _send_orders(self) -> None:
        try:
            async for order in self.ctx.inbox:
                self.child.orders.put(order)
                await self.child.orders.flush()  # a child that does not read makes its senders wait
            self.child.orders.put(Order(STOP))  # the inbox was sealed: we are asked to stop
        except ActorDown:
            pass  # the child closed its end; what became of it is for waitpid to say

    async def _descend(self) -> None:
        await self.ctx.stopping.wait()
        if self.ctx.is_ready:
            await trio.sleep(self.spec.term_after_seconds)
        self.child.signal_group(signal.SIGTERM)
        await trio.sleep(self.spec.kill_after_seconds)
        self.child.signal_group(signal.SIGKILL)

    def _demand_that_it_is_dead(self) -> None:
        if self.child.process.returncode is None:
            words = f"pid {self.child.pid} still there {self.spec.reap_seconds:g} s after SIGKILL: stuck in the kernel"
            raise ProcessExit(words, tail=self.log.tail)

    def _judge(self) -> None:
        code, tail = self.child.process.returncode or 0, self.log.tail
        if self.fault:
            raise ProcessExit(self.fault, code=code, tail=tail)
        if code < 0:
            raise ProcessExit(f"killed by {signal_name(-code)}", signal=-code, tail=tail)
        if code > 0:
            kind = FatalExit if code in self.spec.fatal_codes else ProcessExit
            raise kind(f"exit code {code}", code=code, tail=tail)


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 63` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
