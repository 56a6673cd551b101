"""How directed cases of the supervisor's core are written: a core with a clock, driven by words."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from runtime.actors import Exit
from runtime.supervision.backoff import Backoff
from runtime.supervision.messages import (
    Action,
    Begin,
    Ended,
    Event,
    Start,
    Started,
    Stop,
    Tick,
)
from runtime.supervision.spec import ChildSpec, Restart, SupervisorSpec
from tests.support.supervision_fuzz import nothing

CRASH = Exit(ok=False, kind="error", detail="crashed")
CASES: list[Callable[[Any], None]] = []


def case(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Register a directed case."""
    CASES.append(function)
    return function


def broken_promise(directed: Callable[[Any], None], core_class: Any) -> str | None:
    """What `core_class` did against a directed case, in words; None when it keeps it."""
    try:
        directed(core_class)
    except AssertionError as violation:
        line = traceback.extract_tb(violation.__traceback__)[1]
        return f"line {line.lineno}, {line.line}: {violation}"
    return None


class Script:
    """A core with its clock; drives it by words and keeps what it did."""

    def __init__(self, core_class: Any, *children: ChildSpec | str, **policy: Any) -> None:
        specs = tuple(child(name) if isinstance(name, str) else name for name in children)
        policy.setdefault("backoff", Backoff(first=1.0, jitter=0.0, stable_after=20.0))
        self.core = core_class(SupervisorSpec(specs, **policy), lambda: 0.5)
        self.now = 0.0
        self.done: list[Action] = []

    def feed(self, event: Event) -> list[Action]:
        self.done = self.core.feed(event, self.now)
        return self.done

    def run(self) -> Script:
        """Begin, and let every child become ready."""
        self.feed(Begin())
        while starts := self.all(Start):
            self.up(*[start.id for start in starts])
        return self

    def up(self, *names: str) -> Script:
        """The children become ready, one after the other; `done` holds all the actions."""
        actions = [action for name in names for action in self.feed(Started(name, self.incarnation(name)))]
        self.done = actions
        return self

    def ends(self, name: str, end: Exit = CRASH) -> list[Action]:
        return self.feed(Ended(name, self.incarnation(name), end))

    def wait(self, seconds: float) -> list[Action]:
        self.now += seconds
        return self.feed(Tick())

    def incarnation(self, name: str) -> int:
        return int(self.core.children[name].incarnation)

    def all(self, kind: type[Any]) -> list[Any]:
        return [action for action in self.done if isinstance(action, kind)]

    def only(self, kind: type[Any]) -> Any:
        (action,) = self.all(kind)
        return action

    def started(self) -> list[str]:
        return [start.id for start in self.all(Start)]

    def stopped(self) -> list[str]:
        return [stop.id for stop in self.all(Stop)]


def child(name: str, restart: Restart = Restart.PERMANENT, **rest: Any) -> ChildSpec:
    rest.setdefault("shutdown_seconds", 5.0)
    return ChildSpec(name, nothing, restart, **rest)


def same(got: object, expected: object) -> None:
    assert got == expected, f"{got!r} is not {expected!r}"
