"""One life of a supervisor: performs what the core decides and tells it what happens. Decides nothing itself.

Children run in a nursery that a shielded holder task keeps open, so that a cancel from outside reaches only the
supervisor's own loop, which turns it into an ordered stop. trio cannot kill a task: a child that shields itself or
blocks is reported as Stuck and waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import trio

from runtime.actors.actor import Context
from runtime.actors.exit import Exit
from runtime.actors.ref import Address
from runtime.errors import GaveUp
from runtime.ids import ActorPath, Incarnation, child_path
from runtime.supervision.core import SupervisorCore
from runtime.supervision.messages import (
    Action,
    Begin,
    Ended,
    Event,
    Finish,
    Plan,
    Start,
    Started,
    Stop,
    StopAll,
    Tick,
    WakeAt,
)
from runtime.supervision.reports import Exited, GivingUp, Ready, RestartPlanned, Starting, Stopping, Stuck
from runtime.supervision.spec import ChildSpec, SupervisorSpec

STUCK_AFTER_SECONDS = 5.0
"""How long after its cancel a child that still runs is reported."""


class _Run:
    """One running incarnation: its context and address, what can cancel it, and the ladder that stops it."""

    def __init__(self, ctx: Context[Any], address: Address[Any]) -> None:
        self.ctx, self.address = ctx, address
        self.scope = trio.CancelScope()
        self.ladder: trio.CancelScope | None = None


class Life:
    """From the first start of a supervisor's children to the end of the last one."""

    _kids: trio.Nursery

    def __init__(
        self,
        spec: SupervisorSpec,
        ctx: Context[Any],
        random: Callable[[], float],
        address: Callable[[ChildSpec, ActorPath], Address[Any]],
        incarnations: Mapping[str, int],
    ) -> None:
        self.ctx = ctx
        self.core = SupervisorCore(spec, random, incarnations)
        self.began_at = trio.current_time()
        self.progress: dict[str, int] = {}
        self._address = address
        self._runs: dict[str, _Run] = {}
        # at most two events per incarnation and one per waiting command: bounded by what runs
        self._post, self._inbox = trio.open_memory_channel[Event](inf)
        self._changed = trio.Event()
        self._wake_at = inf
        self._finish: Finish | None = None
        self._interrupt: BaseException | None = None

    async def run(self) -> None:
        """Supervise until the core finishes. Returns, or raises GaveUp or the interrupt that a child raised."""
        async with trio.open_nursery() as outer:
            self._kids = await outer.start(_hold)
            outer.start_soon(self._obey_stopping)
            try:
                await self._supervise()
            finally:
                self._kids.cancel_scope.cancel()  # nothing is left in it, unless `emit` raised
                outer.cancel_scope.cancel()
                self._changed.set()
        self._conclude()

    def post(self, event: Event) -> None:
        """Hand an event to the core; events are handled one by one, in order."""
        self._post.send_nowait(event)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when `holds()` after an event was handled, or when this life is over."""
        while self._finish is None:
            await self._changed.wait()
            if holds():
                return

    async def _supervise(self) -> None:
        try:
            await self._until_finished(Begin())
        except (KeyboardInterrupt, SystemExit) as interrupt:
            self._interrupt = interrupt
            await self._stop_in_order()
        except trio.Cancelled:
            await self._stop_in_order()
            raise

    async def _stop_in_order(self) -> None:
        with trio.CancelScope(shield=True):  # bounded by the children's graces; a second cancel finds no grace left
            await self._until_finished(StopAll(hurry=self.core.ending is not None))

    async def _obey_stopping(self) -> None:
        await self.ctx.stopping.wait()
        self.post(StopAll())

    async def _until_finished(self, event: Event) -> None:
        while True:
            self._wake_at = inf
            for action in self.core.feed(event, trio.current_time()):
                self._perform(action)
            if self.core.settled and not self.core.ending:
                self.ctx.ready()
            self._changed.set()
            self._changed = trio.Event()
            if self._finish is not None:
                return
            event = Tick()
            with trio.move_on_at(self._wake_at):
                event = await self._inbox.receive()

    def _perform(self, action: Action) -> None:
        match action:
            case Start(name, incarnation):
                self._start(self.core.children[name].spec, Incarnation(incarnation))
            case Stop(name, _, grace):
                if name in self._runs:  # else it ended in this very moment, and the core hears of it next
                    self._stop(self._runs[name], grace)
            case Plan(name, failed, attempt, delay, left, collateral, end):
                path = child_path(self.ctx.path, name)
                self.ctx.emit(RestartPlanned(path, Incarnation(failed), attempt, delay, left, collateral, end.detail))
            case WakeAt(at):
                self._wake_at = at
            case Finish():
                self._finish = action

    def _start(self, spec: ChildSpec, incarnation: Incarnation) -> None:
        path = child_path(self.ctx.path, spec.id)
        began_at = trio.current_time()

        def ready(value: object) -> None:
            self.post(Started(spec.id, incarnation))
            self.ctx.emit(Ready(path, incarnation, trio.current_time() - began_at, value))

        def progress(n: int) -> None:
            self.progress[spec.id] = n

        address = self._address(spec, path)
        inbox = address.open(incarnation, path)
        ctx: Context[Any] = Context(
            path, incarnation, inbox=inbox, emit=self.ctx.emit, on_ready=ready, on_progress=progress
        )
        run = self._runs[spec.id] = _Run(ctx, address)
        self.ctx.emit(Starting(path, incarnation))
        self._kids.start_soon(self._child, spec, run, name=path)

    async def _child(self, spec: ChildSpec, run: _Run) -> None:
        ctx = run.ctx
        try:
            with run.scope:
                await spec.start(ctx)
            if run.scope.cancelled_caught:
                end = Exit.killed("cancelled", ctx.last_words)
            elif ctx.is_ready:
                end = Exit.normal()
            else:
                end = Exit(False, "error", "returned before it was ready", tail=ctx.last_words)
        except BaseException as error:  # the border of a child: whatever ends it is for the core to judge
            if self._kids.cancel_scope.cancel_called:
                raise
            end = Exit.of(error, ctx.last_words)
            if end.kind == "interrupted":
                self._interrupt = end.error
        if run.ladder is not None:
            run.ladder.cancel()
        run.address.close(end.detail)
        del self._runs[spec.id]
        failure = self.core.failure_of(spec.id, end)
        self.post(Ended(spec.id, ctx.incarnation, end))
        asked = run.ladder is not None and failure is None
        self.ctx.emit(Exited(ctx.path, ctx.incarnation, failure or end, asked))

    def _stop(self, run: _Run, grace_seconds: float) -> None:
        if run.ladder is not None:
            run.ladder.cancel()
        run.ladder = trio.CancelScope()
        self.ctx.emit(Stopping(run.ctx.path, run.ctx.incarnation, grace_seconds))
        self._kids.start_soon(self._descend, run, run.ladder, grace_seconds)

    async def _descend(self, run: _Run, ladder: trio.CancelScope, grace_seconds: float) -> None:
        with ladder:  # cancelled when the child has ended
            run.ctx.ask_stop()
            if grace_seconds > 0:
                await trio.sleep(grace_seconds)
            run.scope.cancel(reason=f"its grace of {grace_seconds:g} s is over")
            await trio.sleep(STUCK_AFTER_SECONDS)
            self.ctx.emit(Stuck(run.ctx.path, run.ctx.incarnation, STUCK_AFTER_SECONDS))

    def _conclude(self) -> None:
        if self._interrupt is not None:
            raise self._interrupt
        finish = self._finish
        assert finish is not None  # otherwise the nursery raised
        if finish.ok:
            return
        assert finish.id is not None  # a bad end has a culprit
        assert finish.exit is not None
        error = self._gave_up(child_path(self.ctx.path, finish.id), finish)
        if str(error) != finish.exit.detail:  # else a supervisor below has said these very words
            self.ctx.emit(GivingUp(self.ctx.path, ActorPath(error.path), str(error), error.tail))
        raise error from finish.exit.error

    def _gave_up(self, culprit: ActorPath, finish: Finish) -> GaveUp:
        end, spec = finish.exit, self.core.spec
        assert end is not None
        match finish.verdict:
            case "start_failed" | "significant" if end.kind == "gave_up":
                words = end.detail
            case "start_failed":
                words = f"{culprit} could not start: {end.detail}"
            case "limit":
                words = f"{culprit} failed: {end.detail}; {_count(spec)}"
            case "fatal":
                words = f"{culprit} failed in a way that no restart cures: {end.detail}"
            case _:
                words = f"{culprit} ended: {end.detail}"
        inner = end.error.path if isinstance(end.error, GaveUp) else ""
        return GaveUp(words, path=inner or culprit, tail=end.tail)


def _count(spec: SupervisorSpec) -> str:
    return f"that is failure {spec.intensity + 1} within {spec.period_seconds:g} s and the limit is {spec.intensity}"


async def _hold(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Keep a nursery open that no cancel from outside reaches."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as kids:
            task_status.started(kids)
            await trio.sleep_forever()
