"""Random schedules for the supervisor's core, and a referee that knows the invariants but not the implementation.

`play(seed, core_class)` makes a random supervisor, lets a random world happen to it until it ends, and raises
`Violation` when an invariant I1 .. I8 of runtime/supervision/core.py (or an answer that must follow) is broken.
The class is a parameter so that tests/unit/supervision/test_mutations.py can play the same schedules with broken cores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import Any

from runtime.actors import Exit
from runtime.supervision.backoff import Backoff
from runtime.supervision.messages import (
    AddChild,
    Begin,
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
    Tick,
    WakeAt,
)
from runtime.supervision.spec import ChildSpec, Restart, Strategy, SupervisorSpec

PERIOD_SECONDS = 100.0
START_SECONDS = 4.0
GRACE_SECONDS = 2.0
BACKOFF = Backoff(first=0.1, jitter=0.5, stable_after=3.0)
MAX_EVENTS = 3000


class Violation(AssertionError):
    """An invariant was broken; the text says which."""


class Unstartable(Exception):
    """A failure that specs of this world call fatal."""


def demand(holds: object, words: str) -> None:
    """Raise Violation(words) unless `holds`."""
    if not holds:
        raise Violation(words)


async def nothing(ctx: object) -> None:
    """A body that the pure core never runs."""


def random_child(random: Random, name: str) -> ChildSpec:
    """A child with random policy."""
    return ChildSpec(
        name,
        nothing,
        random.choice(list(Restart)),
        shutdown_seconds=GRACE_SECONDS,
        start_seconds=START_SECONDS,
        significant=random.random() < 0.05,
        fatal=(Unstartable,),
    )


def random_spec(random: Random) -> SupervisorSpec:
    """A supervisor of one to five children with a random strategy and limit."""
    spec = SupervisorSpec(
        tuple(random_child(random, f"c{n}") for n in range(random.randint(1, 5))),
        random.choice(list(Strategy)),
        random.randint(0, 5),
        PERIOD_SECONDS,
        BACKOFF,
        stays_when_empty=random.random() < 0.2,
    )
    together = spec.strategy is Strategy.ONE_FOR_ONE and random.random() < 0.5
    return replace(spec, start="together") if together else spec


@dataclass
class Live:
    """An incarnation that runs in the random world."""

    incarnation: int
    state: str = "starting"
    """starting, up or stopping."""
    grace_seconds: float = inf
    since: float = 0.0
    was_up: bool = False


class Referee:
    """Watches the actions of one core and keeps its own account of who lives."""

    def __init__(self, core: Any, spec: SupervisorSpec, jitter: float) -> None:
        self.core, self.spec, self.jitter = core, spec, jitter
        self.now, self.wake = 0.0, inf
        self.live: dict[str, Live] = {}
        self.newest: dict[str, int] = {}
        self.ever_up: set[str] = set()
        self.added: set[str] = set()
        self.told_to_end = self.hurried = False
        self.finish: Finish | None = None
        self.counted: list[float] = []
        self.bystanders: set[tuple[str, int]] = set()
        self.failures: dict[str, int] = {}
        self.not_before: dict[str, float] = {}
        self.targets: set[str] = set()
        self.renewal: dict[str, int] = {}

    # what the core knows of a child, read by name so that a mutant's own enum serves as well

    def phase(self, name: str) -> str:
        child = self.core.children.get(name)
        return "GONE" if child is None else str(child.phase.name)

    def goes_on(self, name: str) -> bool:
        return self.phase(name) != "GONE" and bool(self.core.children[name].wanted)

    def is_settled(self, name: str) -> bool:
        return not self.goes_on(name) or (self.state(name) == "up" and self.core.children[name].doom is None)

    def earlier(self, name: str) -> list[str]:
        order = self.core.children[name].order
        return [other for other, child in self.core.children.items() if child.order < order]

    @property
    def is_together(self) -> bool:
        return self.spec.start == "together"

    @property
    def is_ending(self) -> bool:
        return self.told_to_end or self.core.ending is not None

    def feed(self, event: Event) -> None:
        """Feed the core and judge every action."""
        self.wake = inf
        self.targets |= {name for name, child in self.live.items() if self.is_late(child)}
        actions = self.core.feed(event, self.now)
        for index, action in enumerate(actions):
            match action:
                case Start():
                    self.judge_start(action)
                case Stop():
                    self.judge_stop(action)
                case Plan():
                    self.judge_plan(action)
                case WakeAt(at):
                    demand(at > self.now and index == len(actions) - 1, f"woken at {at}, now {self.now}")
                    self.wake = at
                case Finish():
                    demand(not self.live, "I4: it finished with a live child")
                    demand(self.finish is None and index == len(actions) - 1, "I4: it finished twice")
                    self.finish = action
        self.judge_rest(event)

    def is_late(self, child: Live) -> bool:
        return child.state == "starting" and self.now >= child.since + START_SECONDS

    def judge_start(self, start: Start) -> None:
        name, spec = start.id, self.core.children[start.id].spec
        demand(name not in self.live, "I1: two live incarnations")
        demand(start.incarnation == self.newest.get(name, 0) + 1, "I1: incarnations are counted one by one")
        demand(not self.is_ending, "I3: a start after the end was decided")
        demand(spec.restart is not Restart.TEMPORARY or name not in self.newest, "I6: a temporary child was restarted")
        demand(self.now >= self.not_before.pop(name, -inf), "a start before its backoff was over")
        if self.spec.strategy is not Strategy.ONE_FOR_ONE or (name not in self.newest and not self.is_together):
            waiting = [other for other in self.earlier(name) if self.goes_on(other) and self.state(other) != "up"]
            demand(not waiting or name in self.added, f"{name} started before {waiting}")
        if self.spec.strategy is not Strategy.ONE_FOR_ONE:
            demand(not any(child.state == "stopping" for child in self.live.values()), "a start during a group's stop")
        self.targets.discard(name)
        self.newest[name] = start.incarnation
        self.live[name] = Live(start.incarnation, since=self.now)

    def state(self, name: str) -> str:
        return self.live[name].state if name in self.live else "down"

    def judge_stop(self, stop: Stop) -> None:
        child = self.live.get(stop.id)
        demand(child is not None and child.incarnation == stop.incarnation, "I7: a stop of what does not live")
        assert child is not None
        stopping = [name for name, other in self.live.items() if other.state == "stopping"]
        again = stopping == [stop.id] and self.hurried and stop.grace_seconds == 0 < child.grace_seconds
        demand(not stopping or again, "I2: two stops at a time")
        demand(stop.grace_seconds in (0.0, GRACE_SECONDS), "a grace that nobody gave")
        demand(not self.hurried or stop.grace_seconds == 0, "a grace in spite of the hurry")
        if self.is_ending:
            if not again:
                last = max(self.live, key=lambda name: self.core.children[name].order)
                demand(stop.id == last, "I2: not in reverse order")
            demand(self.hurried or stop.id in self.targets or stop.grace_seconds > 0, "no grace at the end")
        elif self.spec.strategy is Strategy.ONE_FOR_ONE:
            demand(stop.id in self.targets, "one_for_one stopped a bystander")
        child.state, child.grace_seconds = "stopping", stop.grace_seconds

    def judge_plan(self, plan: Plan) -> None:
        demand(plan.id not in self.live, "a restart of what lives")
        demand(not self.is_ending, "I3: a restart was planned after the end was decided")
        collateral = (plan.id, plan.incarnation) in self.bystanders
        demand(plan.collateral is collateral, f"attribution: collateral should be {collateral}")
        if not collateral:
            self.counted = [at for at in self.counted if at > self.now - PERIOD_SECONDS] + [self.now]
            self.bystanders = {(name, child.incarnation) for name, child in self.live.items()}
        recent = sum(at > self.now - PERIOD_SECONDS for at in self.counted)
        demand(recent <= self.spec.intensity, "I5: more restarts than the limit")
        demand(plan.left == self.spec.intensity - recent, "I5: wrong number of restarts left")
        demand(plan.attempt == self.failures[plan.id], f"attempt {plan.attempt}, not {self.failures[plan.id]}")
        demand(plan.delay_seconds == BACKOFF.delay(plan.attempt, self.jitter), "not the backoff's delay")
        self.not_before[plan.id] = self.now + plan.delay_seconds
        if self.spec.strategy is Strategy.ONE_FOR_ONE:
            return
        first = 0 if self.spec.strategy is Strategy.ONE_FOR_ALL else self.core.children[plan.id].order
        for name, child in self.core.children.items():
            if child.order >= first and self.goes_on(name) and child.spec.restart is not Restart.TEMPORARY:
                self.renewal[name] = max(self.renewal.get(name, 0), self.newest.get(name, 0) + 1)

    def judge_rest(self, event: Event) -> None:
        """What must hold after every event, whatever was done."""
        if self.finish is not None:
            demand(self.core.feed(Tick(), self.now + 1) == [], "an action after the end")
            return
        names = list(self.core.children)
        if all(self.is_settled(name) for name in names):
            self.bystanders = set()
            if not self.is_ending:
                for name, incarnation in self.renewal.items():
                    kept = self.goes_on(name) and self.newest[name] < incarnation
                    demand(not kept, f"I8: {name} survived a group restart")
                self.renewal = {}
        busy = [name for name, child in self.live.items() if child.state != "up"]
        if self.is_ending:
            demand(any(child.state == "stopping" for child in self.live.values()), "I4: the end does not go on")
        elif not busy:
            idle = [name for name in names if self.goes_on(name) and name not in self.live]
            demand(not idle or self.wake < inf, f"I4: nobody will start {idle}")
        if self.is_together and not self.is_ending:
            waiting = [name for name in names if self.goes_on(name) and name not in self.newest]
            demand(not waiting, f"{waiting} wait for others though all start together")
        late = [child.since + START_SECONDS for child in self.live.values() if child.state == "starting"]
        if late and not self.is_ending and not any(child.state == "stopping" for child in self.live.values()):
            demand(self.wake <= min(late), "nobody watches a start")

    def exit(self, name: str, end: Exit) -> None:
        """End a live child and judge that the core answers."""
        child, record = self.live.pop(name), self.core.children[name]
        spec, doomed, was_ending = record.spec, record.doom is not None, self.is_ending
        was_asked = child.state == "stopping"
        demand(not was_asked or doomed, "a stop that was forgotten")
        blamed = doomed and record.doom.blame is not None
        if not doomed or blamed:
            stable = child.was_up and self.now - child.since >= BACKOFF.stable_after and not was_asked
            self.failures[name] = 1 if stable else self.failures.get(name, 0) + 1
        self.feed(Ended(name, child.incarnation, end))
        if doomed or was_ending:
            return
        verdict = self.core.ending.verdict if self.core.ending else None
        again = spec.restart is Restart.PERMANENT or (spec.restart is Restart.TRANSIENT and not end.ok)
        if name not in self.ever_up:
            demand(verdict == "start_failed" or name in self.added, "a first start failed and nobody cared")
        elif end.kind == "interrupted":
            demand(verdict == "interrupted", "an interrupt was taken for a failure")
        elif again and isinstance(end.error, Unstartable):
            demand(verdict == "fatal", "a fatal failure was not final")
        elif again:
            demand(verdict == "limit" or name in self.not_before or self.state(name) == "starting", "no restart")
        else:
            demand(self.phase(name) == "GONE", "a final end was not final")
            demand(not spec.significant or verdict == "significant", "a significant end went by")

    def stale(self, random: Random) -> None:
        """Feed an event of an incarnation that is over at the same instant; nothing may change."""
        name = random.choice(list(self.core.children))
        old = self.newest.get(name, 0) - (name in self.live)
        event = random.choice([Started(name, old), Ended(name, old, Exit.normal()), Suspect(name, old, "stale")])
        before, wake = self.picture(), self.wake
        actions = self.core.feed(event, self.now)
        demand(all(action == WakeAt(wake) for action in actions), f"I7: a stale event caused {actions}")
        demand(self.picture() == before, "I7: a stale event changed the state")

    def picture(self) -> list[tuple[object, ...]]:
        return [(c.spec.id, c.phase.name, c.incarnation, c.wanted, c.doom) for c in self.core.children.values()]


def play(seed: int, core_class: Any) -> int:
    """One random schedule until the supervisor ended; returns the number of events."""
    random = Random(seed)
    spec, jitter = random_spec(random), random.random()
    referee = Referee(core_class(spec, lambda: jitter), spec, jitter)
    calm = random.random() * 0.5
    referee.feed(Begin())
    for count in range(1, MAX_EVENTS):
        if referee.finish is not None:
            return count
        referee.now += random.random() * (0.2 if random.random() < 0.5 else 2.0)
        _happen(referee, random, calm)
    raise Violation("I4: it does not end")


def _happen(referee: Referee, random: Random, calm: float) -> None:
    dice = random.random()
    if referee.live and dice < 0.7:
        _live_on(referee, random, random.choice(list(referee.live)), calm)
    elif referee.live and dice < 0.76:
        referee.feed(Tick())
        if referee.finish is None and referee.live:
            referee.stale(random)
    elif dice < 0.86:
        _command(referee, random)
    elif dice < 0.875:
        referee.told_to_end = True
        referee.hurried = referee.hurried or random.random() < 0.3
        referee.feed(StopAll(referee.hurried))
    else:
        referee.now = max(referee.now, referee.wake if referee.wake < inf else referee.now)
        referee.feed(Tick())


def _live_on(referee: Referee, random: Random, name: str, calm: float) -> None:
    child = referee.live[name]
    dice = random.random()
    if child.state == "stopping":
        referee.exit(name, random.choice([Exit.normal(), Exit.killed("late")]))
    elif child.state == "starting" and dice < 0.85:
        child.state, child.since, child.was_up = "up", referee.now, True
        if referee.core.children[name].doom is None:
            referee.ever_up.add(name)
        referee.feed(Started(name, child.incarnation))
        referee.ever_up.add(name)
    elif dice > calm:
        referee.feed(Tick())
    elif name in referee.live and dice < calm * 0.1:
        if child.state != "stopping":
            referee.targets.add(name)
        referee.feed(Suspect(name, child.incarnation, "no progress"))
    else:
        referee.exit(name, _random_exit(random))


def _random_exit(random: Random) -> Exit:
    dice = random.random()
    if dice < 0.3:
        return Exit.normal()
    if dice < 0.32:
        return Exit.of(KeyboardInterrupt())
    if dice < 0.36:
        return Exit.of(Unstartable("no such model"), tail="-")
    return Exit(ok=False, kind="error", detail="crashed")


def _command(referee: Referee, random: Random) -> None:
    names = list(referee.core.children)
    dice = random.random()
    if dice < 0.3 or not names:
        name = f"c{random.randint(0, 7)}"
        if referee.core.children.get(name) is None and name not in referee.newest:
            referee.added.add(name)
            referee.feed(AddChild(random_child(random, name)))
        return
    name = random.choice(names)
    referee.targets.add(name)
    if dice < 0.65:
        referee.feed(StopChild(name, forget=random.random() < 0.5))
        referee.renewal.pop(name, None)
    else:
        if referee.core.children[name].spec.restart is not Restart.TEMPORARY and not referee.is_ending:
            referee.not_before.pop(name, None)
            referee.failures[name] = 0
            if referee.spec.strategy is not Strategy.ONE_FOR_ONE:
                referee.targets.update(names)
        referee.feed(RestartChild(name))
