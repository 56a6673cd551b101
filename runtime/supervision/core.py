"""The supervisor's decisions as a pure state machine: `feed(event, now)` returns actions. No task, clock or randomness.

It reconciles and does not script: an event changes what is wanted of each child (phase, doom, gate, not_before), and
then one function compares that with what is, so crashes that overlap a group restart need no code of their own.

Invariants (fuzzed in tests/unit/supervision):
I1 a child never has two live incarnations       I5 counted failures within the period <= intensity, else it ends
I2 stops go one at a time, in reverse when ending I6 a temporary child is never restarted
I3 nothing starts once the end is decided         I7 events of an earlier incarnation change nothing
I4 it always ends, and never with a live child    I8 one_for_all gives every child that goes on a new incarnation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

from runtime.actors.exit import Exit, ExitKind
from runtime.supervision.backoff import record_failure
from runtime.supervision.messages import (
    Action,
    AddChild,
    Ended,
    Event,
    Finish,
    Plan,
    RestartChild,
    Start,
    Started,
    Stop,
    StopAll,
    StopChild,
    Suspect,
    WakeAt,
)
from runtime.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec


class Phase(Enum):
    """Where a child is in its life."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    GONE = "gone"
    """Ended for good."""


LIVE = (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)


@dataclass(frozen=True)
class _Doom:
    """This incarnation must go: with which grace, and whether that is its own failure (`blame`)."""

    grace_seconds: float
    blame: tuple[ExitKind, str] | None = None

    def blamed(self, end: Exit) -> Exit:
        """The end that `end` counts as, when it is the incarnation's own failure."""
        return end if self.blame is None else replace(end, ok=False, kind=self.blame[0], detail=self.blame[1])


@dataclass
class Child:
    """What the core knows of one child. Read-only outside of this file."""

    spec: ChildSpec
    order: int
    since: float = 0.0
    """When it entered its phase."""
    phase: Phase = Phase.DOWN
    incarnation: int = 0
    wanted: bool = True
    not_before: float = -inf
    gate: frozenset[str] = frozenset()
    """Children that must be up, or not wanted, before this one starts."""
    failures: int = 0
    was_ready: bool = False
    added: bool = False
    forget: bool = False
    doom: _Doom | None = None
    exit: Exit | None = None
    """How its last incarnation ended."""

    @property
    def is_live(self) -> bool:
        """Whether an incarnation may still run."""
        return self.phase in LIVE

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way: it is up and stays up, or it is down for good or by command."""
        return (self.phase is Phase.RUNNING and self.doom is None) or self.phase is Phase.GONE or not self.wanted

    def enter(self, phase: Phase, now: float) -> None:
        """Change the phase and note the time."""
        self.phase, self.since = phase, now


class SupervisorCore:
    """One supervisor's state. `random` gives the jitter, in [0, 1); `incarnations` what an earlier life counted."""

    def __init__(
        self, spec: SupervisorSpec, random: Callable[[], float], incarnations: Mapping[str, int] | None = None
    ) -> None:
        self.spec = spec
        self.children: dict[str, Child] = {}
        self.ending: Finish | None = None
        self.finished = False
        self.settled = False
        """Whether every child of the spec has been up once: the supervisor itself is ready."""
        self._random = random
        self._hurry = False
        self._failures: tuple[float, ...] = ()
        self._incarnations = dict(incarnations or {})
        self._bystanders: set[tuple[str, int]] = set()
        self._plans: list[Action] = []
        for child in spec.children:
            self._add(child, now=0.0)

    def restarts_left(self, now: float) -> int:
        """Failures that may still come within the period before the supervisor gives up."""
        recent = sum(at > now - self.spec.period_seconds for at in self._failures)
        return max(0, self.spec.intensity - recent)

    def incarnations(self) -> dict[str, int]:
        """How often each child was started so far, also those that were removed."""
        return self._incarnations | {child.spec.id: child.incarnation for child in self.children.values()}

    def in_order(self) -> list[Child]:
        """The children in start order."""
        return sorted(self.children.values(), key=lambda child: child.order)

    def failure_of(self, name: str, end: Exit) -> Exit | None:
        """What the end of a child that we made end counts as: its own failure (hung, late), or None when we wanted it.

        Ask before the end is fed.
        """
        child = self.children.get(name)
        doom = child.doom if child is not None else None
        return doom.blamed(end) if doom is not None and doom.blame is not None else None

    def feed(self, event: Event, now: float) -> list[Action]:
        """What to do after `event`. The last WakeAt replaces earlier ones; after Finish there is nothing to do."""
        if self.finished:
            return []
        self._plans = []
        self._learn(event, now)
        return self._plans + self._reconcile(now)

    def _learn(self, event: Event, now: float) -> None:
        match event:
            case StopAll(hurry):
                self._hurry = self._hurry or hurry
                self._end(Finish(True, "shutdown"))
            case Started() | Ended() | Suspect():
                child = self.children.get(event.id)
                if child is not None and child.incarnation == event.incarnation and child.is_live:
                    self._hear(child, event, now)
            case AddChild() | StopChild() | RestartChild() if not self.ending:
                self._obey(event, now)

    def _obey(self, command: AddChild | StopChild | RestartChild, now: float) -> None:
        child = self.children.get(command.id)
        match command:
            case AddChild(spec) if child is None or not child.is_live:
                self._add(spec, now).added = True
            case StopChild(_, forget) if child is not None:
                self._hold(child, forget)
            case RestartChild() if child is not None and child.spec.restart is not Restart.TEMPORARY:
                self._renew(child, now)

    def _hear(self, child: Child, event: Started | Ended | Suspect, now: float) -> None:
        match event:
            case Started() if child.phase is Phase.STARTING:
                child.enter(Phase.RUNNING, now)
                child.was_ready = True
            case Suspect(_, _, why) if child.phase is not Phase.STOPPING:
                child.doom = replace(child.doom, grace_seconds=0.0) if child.doom else _Doom(0.0, ("hung", why))
            case Ended(_, _, end):
                self._ended(child, end, now)

    def _add(self, spec: ChildSpec, now: float) -> Child:
        self._forget(spec.id)
        order = 1 + max((child.order for child in self.children.values()), default=-1)
        gate = frozenset(self.children) if self.spec.start == "in_order" else frozenset[str]()
        child = Child(spec, order, now, gate=gate, incarnation=self._incarnations.get(spec.id, 0))
        self.children[spec.id] = child
        return child

    def _forget(self, name: str) -> None:
        """Drop a child but not its count of incarnations: a successor of the same name is told from it."""
        if name in self.children:
            self._incarnations[name] = self.children.pop(name).incarnation
            for child in self.children.values():
                child.gate -= {name}  # a successor of that name starts after them, not before

    def _hold(self, child: Child, forget: bool) -> None:
        child.wanted, child.forget = False, forget
        if child.is_live:
            child.doom = _Doom(child.doom.grace_seconds if child.doom else child.spec.grace_seconds)
        elif forget:
            self._forget(child.spec.id)

    def _renew(self, child: Child, now: float) -> None:
        child.wanted, child.forget, child.failures = True, False, 0
        if child.phase is Phase.GONE:
            child.enter(Phase.DOWN, now)
        if child.is_live:
            child.doom = child.doom or _Doom(child.spec.grace_seconds)
        child.not_before = now
        self._tie(child, now)

    def _end(self, finish: Finish) -> None:
        if self.ending is None:  # the first verdict wins
            self.ending = finish

    def _ended(self, child: Child, end: Exit, now: float) -> None:
        doom, phase, ready_seconds = child.doom, child.phase, now - child.since
        child.doom, child.exit = None, end
        child.enter(Phase.DOWN, now)
        if end.kind == "interrupted":
            self._end(Finish(False, "interrupted", child.spec.id, end))
        if self.ending:
            return
        if doom is not None and doom.blame is not None:
            child.exit = end = doom.blamed(end)
        elif doom is not None:
            self._stopped(child, now)
            return
        if not self._is_final(child, end, now):
            stable = phase is Phase.RUNNING and ready_seconds >= self.spec.backoff.stable_after
            child.failures = 1 if stable else child.failures + 1
            self._plan_restart(child, end, now)

    def _stopped(self, child: Child, now: float) -> None:
        """It ended because we wanted it to: no failure of its own."""
        if child.forget:
            self._forget(child.spec.id)
        elif child.spec.restart is Restart.TEMPORARY:
            child.enter(Phase.GONE, now)

    def _is_final(self, child: Child, end: Exit, now: float) -> bool:
        """Whether this end is the child's last one, with everything that follows from it."""
        spec = child.spec
        again = spec.restart is Restart.PERMANENT or (spec.restart is Restart.TRANSIENT and not end.ok)
        if not child.was_ready:
            if not child.added:
                self._end(Finish(False, "start_failed", spec.id, end))
        elif again and isinstance(end.error, spec.fatal):
            self._end(Finish(False, "fatal", spec.id, end))
        elif again:
            return False
        elif spec.significant:
            self._end(Finish(end.ok, "significant", spec.id, end))
        child.enter(Phase.GONE, now)
        if not self.spec.stays_when_empty and not any(map(_goes_on, self.children.values())):
            self._end(Finish(True, "finished"))
        return True

    def _plan_restart(self, child: Child, end: Exit, now: float) -> None:
        collateral = (child.spec.id, child.incarnation) in self._bystanders
        if not collateral:
            spec = self.spec
            self._failures, allowed = record_failure(self._failures, now, spec.intensity, spec.period_seconds)
            if not allowed:
                self._end(Finish(False, "limit", child.spec.id, end))
                return
            self._bystanders = {(c.spec.id, c.incarnation) for c in self.children.values() if c.is_live}
        delay = self.spec.backoff.delay(child.failures, self._random())
        child.not_before = now + delay
        self._tie(child, child.not_before)
        left = self.restarts_left(now)
        self._plans.append(Plan(child.spec.id, child.incarnation, child.failures, delay, left, collateral, end))

    def _tie(self, child: Child, not_before: float) -> None:
        """Doom those whom the strategy ties to `child`, and let them all start again in order."""
        match self.spec.strategy:
            case Strategy.ONE_FOR_ONE:
                group = [child]
            case Strategy.ONE_FOR_ALL:
                group = list(self.children.values())
            case Strategy.REST_FOR_ONE:
                group = [other for other in self.children.values() if other.order >= child.order]
        for other in group:
            if other is not child and other.phase is not Phase.GONE:
                other.not_before = max(other.not_before, not_before)
                if other.is_live:
                    other.doom = other.doom or _Doom(other.spec.grace_seconds)
            other.gate |= frozenset(earlier.spec.id for earlier in group if earlier.order < other.order)

    def _reconcile(self, now: float) -> list[Action]:
        children = self.in_order()
        for child in children:
            limit = child.spec.ready_within_seconds
            if child.phase is Phase.STARTING and child.doom is None and now >= child.since + limit:
                child.doom = _Doom(0.0, ("start_timeout", f"not ready within {limit:g} s"))
        actions = self._stops([child for child in children if child.is_live], now)
        if self.ending:
            if not any(child.is_live for child in children):
                self.finished = True
                actions.append(self.ending)
            return actions
        actions += self._starts(children, now)
        if all(child.is_settled for child in children):
            self.settled = True
            self._bystanders = set()
        return actions

    def _stops(self, live: list[Child], now: float) -> list[Action]:
        """The next stop: strictly one at a time, the last started first."""
        doomed = [child for child in live if child.doom or self.ending]
        stopping = next((child for child in live if child.phase is Phase.STOPPING), None)
        if stopping is None and doomed:
            child = doomed[-1]
            child.enter(Phase.STOPPING, now)
            child.doom = child.doom or _Doom(child.spec.grace_seconds)
        elif stopping is not None and stopping.doom and stopping.doom.grace_seconds > 0 and self._hurry:
            child = stopping
        else:
            return []
        assert child.doom is not None  # given above, or when its stop began
        if self._hurry:
            child.doom = replace(child.doom, grace_seconds=0.0)
        return [Stop(child.spec.id, child.incarnation, child.doom.grace_seconds)]

    def _starts(self, children: list[Child], now: float) -> list[Action]:
        """Start what is wanted, allowed and due; ask to be woken for what is not due yet and for late starters."""
        actions: list[Action] = []
        wake = inf
        # a group goes down as a whole before any of it comes up
        blocked = self.spec.strategy is not Strategy.ONE_FOR_ONE and any(child.doom for child in children)
        for child in children:
            if child.phase is Phase.DOWN and child.wanted and not blocked and self._gate_is_open(child):
                if child.not_before > now:
                    wake = min(wake, child.not_before)
                    continue
                child.incarnation += 1
                child.gate = frozenset()
                child.enter(Phase.STARTING, now)
                actions.append(Start(child.spec.id, child.incarnation))
            if child.phase is Phase.STARTING and child.doom is None:
                wake = min(wake, child.since + child.spec.ready_within_seconds)
        return [*actions, WakeAt(wake)] if wake < inf else actions

    def _gate_is_open(self, child: Child) -> bool:
        earlier = (self.children[name] for name in child.gate if name in self.children)
        return all(other.phase in (Phase.RUNNING, Phase.GONE) or not other.wanted for other in earlier)


def _goes_on(child: Child) -> bool:
    """Whether the child runs or will run again."""
    return child.wanted and child.phase is not Phase.GONE
