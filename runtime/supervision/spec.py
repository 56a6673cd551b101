"""What is supervised and how, as frozen data. A policy that cannot work is refused where it is written.

    SupervisorSpec(
        (ChildSpec("writer", writer), ChildSpec("trainer", trainer, Restart.TRANSIENT, significant=True)),
        Strategy.REST_FOR_ONE, intensity=3, period_seconds=60)

Words and meanings are OTP's. Limits count per supervisor and not per child: an all-reduce fails everywhere at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from runtime.actors.actor import ActorFn
from runtime.actors.mailbox import DEFAULT_CAPACITY
from runtime.actors.ref import Address
from runtime.supervision.backoff import Backoff

DEFAULT_SHUTDOWN_SECONDS = 5.0
DEFAULT_START_SECONDS = 30.0
_MARGIN_SECONDS = 1.0
"""What a supervisor adds to the time that a child says it needs."""


class Strategy(Enum):
    """Who is restarted when a child fails."""

    ONE_FOR_ONE = "one_for_one"
    """Only that child."""
    ONE_FOR_ALL = "one_for_all"
    """Every child."""
    REST_FOR_ONE = "rest_for_one"
    """That child and those that were started after it."""


class Restart(Enum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """When it failed; a normal end is final."""
    TEMPORARY = "temporary"
    """Never."""


@dataclass(frozen=True)
class ChildSpec:
    """One child: what it runs, when it is restarted, how long it may take to start and to stop."""

    id: str
    """Last part of its path."""
    start: ActorFn
    restart: Restart = Restart.PERMANENT
    shutdown_seconds: float | None = None
    """Grace between the request to stop and the cancel; None: what `start` says it needs, otherwise 5 s."""
    start_seconds: float | None = None
    """It must be ready within this time. None: what `start` says it needs, otherwise 30 s."""
    significant: bool = False
    """Its own final end (not a restart) ends the whole supervisor, in order."""
    fatal: tuple[type[Exception], ...] = ()
    """Failures that no restart can cure: the supervisor gives up at once."""
    mailbox: int = DEFAULT_CAPACITY
    address: Address[Any] | None = None
    """Where senders reach it; give one to hand out its typed Ref early. None: the supervisor makes one."""

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id:
            raise ValueError(f"a child id is a path part without a slash, not {self.id!r}")
        needed = getattr(self.start, "stop_budget_seconds", 0.0)
        if self.shutdown_seconds is not None and self.shutdown_seconds < needed:
            raise ValueError(
                f"child {self.id}: shutdown_seconds={self.shutdown_seconds:g} is shorter than the {needed:g} s that "
                f"its own ladder may take, so it would be killed though it behaves; leave it out or give at least that"
            )
        if self.ready_within_seconds <= 0:
            raise ValueError(f"child {self.id}: start_seconds must be positive, not {self.start_seconds}")
        if self.mailbox < 1:
            raise ValueError(f"child {self.id}: a mailbox holds at least 1 message, not {self.mailbox}")

    @property
    def grace_seconds(self) -> float:
        """Seconds between the request to stop and the cancel, resolved."""
        if self.shutdown_seconds is not None:
            return self.shutdown_seconds
        needed: float | None = getattr(self.start, "stop_budget_seconds", None)
        return DEFAULT_SHUTDOWN_SECONDS if needed is None else needed + _MARGIN_SECONDS

    @property
    def ready_within_seconds(self) -> float:
        """Seconds that it has to become ready, resolved."""
        if self.start_seconds is not None:
            return self.start_seconds
        needed: float | None = getattr(self.start, "start_budget_seconds", None)
        return DEFAULT_START_SECONDS if needed is None else needed + _MARGIN_SECONDS


@dataclass(frozen=True)
class SupervisorSpec:
    """Children in start order, and the one policy for their failures."""

    children: tuple[ChildSpec, ...] = ()
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 3
    """How many failures within `period_seconds` are answered with a restart; one more and the supervisor gives up."""
    period_seconds: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    start: Literal["in_order", "together"] = "in_order"
    """Whether a child waits until those before it are ready, or all start at once; they always stop one at a time."""
    stays_when_empty: bool = False
    """Whether it lives on when no child is left; for one whose children come and go."""

    def __post_init__(self) -> None:
        ids = [child.id for child in self.children]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"two children are called {name!r}; give each its own id")
        if not ids and not self.stays_when_empty:
            raise ValueError("a supervisor without children ends at once; give it some, or stays_when_empty=True")
        if self.intensity < 0 or self.period_seconds <= 0:
            raise ValueError(
                "intensity must be 0 or more and period_seconds positive, "
                f"not {self.intensity} in {self.period_seconds:g} s"
            )
        if self.start == "together" and self.strategy is not Strategy.ONE_FOR_ONE:
            raise ValueError(f'{self.strategy.value} ties children by their order; start="together" has none')
        burst = self.backoff.longest_burst(self.intensity)
        if burst >= self.period_seconds:
            raise ValueError(
                f"this policy never gives up: {self.intensity} restarts with backoff take up to {burst:g} s, so more "
                f"than {self.intensity} never fall into {self.period_seconds:g} s; "
                f"lower the intensity or the backoff, or take a period above {burst:g} s"
            )

    @property
    def stop_budget_seconds(self) -> float:
        """Longest ordered stop of these children: they stop one after the other."""
        return sum(child.grace_seconds for child in self.children)

    @property
    def start_budget_seconds(self) -> float:
        """Longest first start of these children: one after the other, or together."""
        needed = [child.ready_within_seconds for child in self.children]
        return max(needed, default=0.0) if self.start == "together" else sum(needed)
