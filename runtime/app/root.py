"""The root's memory and ears: what the children say becomes facts, and what one must know of another is passed on.

It decides nothing about restarts (the tree does) and nothing about steps (the coordinator does).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from runtime import events as facts
from runtime.actors import Context, Exit, FatalExit, FrameHooks
from runtime.actors.frames import Beat, Fact, Hello, Order, Report
from runtime.actors.process import Source
from runtime.actors.ref import Address
from runtime.app.reports import as_event
from runtime.app.words import (
    BEATS,
    COORDINATOR,
    FINISHED,
    JOURNALED,
    PAUSE_RUN,
    POINT,
    POSITION,
    RESUME_RUN,
    SAVE_NOW,
    SERVE,
    SERVING,
    STOP_RUN,
)
from runtime.cluster.detector import LOADING, HangDetector
from runtime.errors import ActorError
from runtime.events import from_json
from runtime.events.bus import EventBus, keep_synced
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Rank, rank_of
from runtime.supervision import Exited, Supervisor

WATCH_SECONDS = 0.5


@dataclass
class Briefing:
    """What a coordinator is told at its start; kept up to date for its successor."""

    run_id: str
    token: str
    workers: int
    config_hash: str
    version: str
    command: str
    point: Mapping[str, Any]
    after: Mapping[str, Any] | None = None
    generation: int = 0
    held: str = ""
    """Who asked for the pause that the run is in, or on its way to."""

    def order(self) -> Order:
        """The first order of a coordinator's process."""
        return Order(SERVE, dict(vars(self)))


@dataclass
class Root:
    """Belongs to the root's trio thread."""

    bus: EventBus
    journal: Journal
    briefing: Briefing
    detector: HangDetector
    coordinator: Address[Order] = field(default_factory=lambda: Address("run/coordinator"))
    tracker: Address[Order] = field(default_factory=lambda: Address("run/tracker"))
    monitor: Address[Order] = field(default_factory=lambda: Address("run/monitoring/monitor"))
    tree: Supervisor | None = None
    node: Supervisor | None = None
    monitoring: Supervisor | None = None
    """Of the monitor; None before anybody looked."""
    fatal: Exit | None = None
    """How the first child ended that no restart could cure."""
    outcome: str = ""
    reason: str = ""
    step: int = 0
    retired: str = ""
    """Why the last worker left that is not started again."""
    _workers: dict[int, Address[Order]] = field(default_factory=dict)
    _contact: Mapping[str, Any] | None = None
    beats: dict[str, tuple[float, int, str]] = field(default_factory=dict)
    """Rank, as JSON names it -> (Unix time, step, phase) of its last sign of life."""

    # ---- facts

    def emit(self, said: object) -> None:
        """What actors and supervisors of this process say."""
        event = as_event(said, ActorPath("run"))
        if event is not None:
            self.bus.publish(self._placed(event[0]), event[1])
        if isinstance(said, Exited):
            self._exited(said)

    def _placed(self, fact: facts.Event) -> facts.Event:
        """The end of a worker's process, with what it was doing."""
        rank = rank_of(fact.path) if isinstance(fact, facts.ActorExited) else None
        if not isinstance(fact, facts.ActorExited) or rank is None:
            return fact
        step, phase = self.detector.place_of(rank, fact.incarnation)
        return replace(fact, step=step, phase=phase)

    def _exited(self, said: Exited) -> None:
        if isinstance(said.exit.error, FatalExit) and self.fatal is None:
            self.fatal = said.exit
        if "/worker-" in said.path:
            self.detector.forget(_rank_of(said.path), said.incarnation)
            self.beats.pop(str(_rank_of(said.path)), None)
        elif said.path == self.coordinator.path and self.outcome and self.tree is not None:
            self.tree.end()  # the run is over; a worker that was still starting has nobody left to join

    async def sync_journal(self, ctx: Context[None]) -> None:
        """The actor that makes the journal survive a power cut at the moments that matter."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_synced, self.bus, self.journal)
            ctx.ready()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel()

    async def watch(self, ctx: Context[None]) -> None:
        """The actor that finds hung workers and has them replaced."""
        ctx.ready()
        while not ctx.stopping.is_set():
            for hung in self.detector.judge(trio.current_time()):
                quiet, limit = hung.quiet_seconds, hung.limit_seconds
                fact = facts.WorkerHung(hung.rank, hung.incarnation, hung.phase, quiet, limit)
                self.bus.publish(fact, ActorPath(f"run/node/worker-{hung.rank}"))
                assert self.node is not None
                why = f"no progress for {quiet:.0f} s in {hung.phase}"
                self.node.suspect(f"worker-{hung.rank}", hung.incarnation, why)
            _tell(self.monitor, Order(BEATS, dict(self.beats)))  # where there is none, nobody hears it
            with trio.move_on_after(WATCH_SECONDS):
                await ctx.stopping.wait()

    # ---- the children

    def worker_address(self, rank: int) -> Address[Order]:
        """Where a worker's process is reached."""
        return self._workers.setdefault(rank, Address(f"run/node/worker-{rank}"))

    def heard(self, rank: Rank, step: int, phase: str) -> None:
        """A worker gave a sign of life."""
        self.beats[str(rank)] = time.time(), step, phase

    def worker_hooks(self, rank: int) -> FrameHooks:
        """What becomes of a worker's frames."""
        return _WorkerHooks(self, rank)

    @property
    def tracker_hooks(self) -> FrameHooks:
        """What becomes of the tracker's frames."""
        return _FactHooks(self)

    @property
    def coordinator_hooks(self) -> FrameHooks:
        """What becomes of the coordinator's frames."""
        return _CoordinatorHooks(self)

    def ask_stop(self, by: str) -> bool:
        """Ask the coordinator for an orderly end; False when it cannot be reached."""
        return _tell(self.coordinator, Order(STOP_RUN, {"by": by}))

    def ask_pause(self, by: str) -> None:
        """Have no step ordered after the one under way; also by a coordinator that is not there yet."""
        self.briefing.held = by
        self.bus.publish(facts.PauseRequested(by), ActorPath("run/control"))
        _tell(self.coordinator, Order(PAUSE_RUN, {"by": by}))

    def ask_resume(self, by: str) -> None:
        """Go on after a pause."""
        self.briefing.held = ""
        self.bus.publish(facts.ResumeRequested(by), ActorPath("run/control"))
        _tell(self.coordinator, Order(RESUME_RUN))

    def ask_checkpoint(self, by: str) -> bool:
        """Have a checkpoint written at the next boundary; False when the coordinator cannot be reached."""
        if not _tell(self.coordinator, Order(SAVE_NOW)):
            return False
        self.bus.publish(facts.CheckpointRequested(by), ActorPath("run/control"))
        return True

    def publish(self, source: Source, frame: Fact) -> facts.Event:
        """A child's fact into the journal."""
        event = from_json(dict(frame.event))
        path = getattr(event, "path", source.path)
        self.bus.publish(event, ActorPath(path if str(path).startswith("run/") else source.path))
        return event

    def contact(self, body: Mapping[str, Any] | None = None, to: Address[Order] | None = None) -> None:
        """Tell workers (one, or all) where the coordinator is; with `body`, it is a new one."""
        if body is not None:
            self._contact = {**body, "token": self.briefing.token, "run_id": self.briefing.run_id}
        if self._contact is not None:
            for address in [to] if to is not None else list(self._workers.values()):
                _tell(address, Order(COORDINATOR, self._contact))


class _FactHooks(FrameHooks):
    def __init__(self, root: Root) -> None:
        self._root = root

    def fact(self, source: Source, frame: Fact) -> None:
        self._root.publish(source, frame)


class _WorkerHooks(FrameHooks):
    def __init__(self, root: Root, rank: int) -> None:
        self._root, self._rank = root, Rank(rank)

    def hello(self, source: Source, frame: Hello) -> None:
        # from here on it is watched: one that is stopped before its first beat would be waited for, for ever
        self._root.detector.beat(self._rank, source.incarnation, 0, LOADING, trio.current_time())
        self._root.contact(to=self._root.worker_address(self._rank))

    def beat(self, source: Source, frame: Beat) -> None:
        self._root.heard(self._rank, frame.step, frame.phase)
        self._root.detector.beat(self._rank, source.incarnation, frame.step, frame.phase, trio.current_time())

    def fact(self, source: Source, frame: Fact) -> None:
        event = self._root.publish(source, frame)
        if isinstance(event, facts.WorkerRetired):
            self._root.retired = event.reason


class _CoordinatorHooks(FrameHooks):
    def __init__(self, root: Root) -> None:
        self._root = root
        self._by_kind: dict[str, Callable[[Mapping[str, Any]], None]] = {
            SERVING: root.contact,
            POSITION: self._position,
            POINT: self._point,
            FINISHED: self._finished,
        }

    def hello(self, source: Source, frame: Hello) -> None:
        _tell(self._root.coordinator, self._root.briefing.order())

    def fact(self, source: Source, frame: Fact) -> None:
        event = self._root.publish(source, frame)
        for kind, body in frame.reports.items():
            self._by_kind[kind](body)
        if isinstance(event, facts.StepCommitted):
            self._root.detector.learn(event.seconds)
        if isinstance(event, facts.CheckpointStarted):
            _tell(self._root.coordinator, Order(JOURNALED))
        if isinstance(event, facts.GenerationStarted):
            self._root.briefing.generation = event.generation

    def report(self, source: Source, frame: Report) -> None:
        self._by_kind[frame.kind](frame.body)

    def _position(self, body: Mapping[str, Any]) -> None:
        self._root.briefing.after = body
        self._root.step = int(body["step"])

    def _point(self, body: Mapping[str, Any]) -> None:
        self._root.briefing.point = body

    def _finished(self, body: Mapping[str, Any]) -> None:
        self._root.outcome, self._root.reason = str(body["outcome"]), str(body["reason"])
        self._root.step = int(body["step"])
        _tell(self._root.tracker, Order(FINISHED, body))


def _tell(address: Address[Order], order: Order) -> bool:
    try:
        address.ref.try_tell(order)
    except ActorError:  # it is down or restarting: its successor is told when it says hello
        return False
    return True


def _rank_of(path: str) -> Rank:
    return Rank(int(path.partition("/worker-")[2].partition("/")[0]))
