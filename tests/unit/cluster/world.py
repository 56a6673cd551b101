"""A coordinator's core with pretended workers: says what the core said, to whom, and what it published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from runtime import events as facts
from runtime.cluster.core import Core
from runtime.cluster.messages import (
    CheckpointDone,
    Evaluated,
    EvaluateWork,
    FromWorker,
    Holding,
    Join,
    Order,
    Restore,
    RestorePoint,
    Save,
    ShardTally,
    ShardWritten,
    StepWork,
    ToWorker,
    Vote,
)
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import (
    Action,
    Close,
    Finished,
    Joined,
    Left,
    Phase,
    Position,
    Publish,
    Said,
    Send,
    StopAsked,
    Tick,
    WakeAt,
)
from runtime.flow import StepOrder
from runtime.ids import Cursor, Incarnation, Rank, Step

MessageT = TypeVar("MessageT")
FactT = TypeVar("FactT")

PLAN = RunPlan(workers=2, global_batch_size=8, logical_shards=4, steps=3, epochs=1.0)
DISK = RestorePoint(Step(0), Cursor(0), "")


def join_of(rank: int, **more: Any) -> Join:
    """A fresh worker's Join; `more` replaces fields."""
    join = Join(
        run="demo", rank=Rank(rank), incarnation=Incarnation(1), peer_address=f"peer-{rank}", holds=-1, prepared=0,
        cursor=Cursor(0), counters={}, samples_in_epoch=100, data_fingerprint="data", host="here", device="cpu", pid=1,
    )  # fmt: skip
    return replace(join, **more)


def vote_on(order: StepOrder, rank: int, **more: Any) -> Vote:
    """A complete vote: two tokens a shard, a loss of one nat each."""
    tallies = tuple(ShardTally(shard, 2.0, 2, (int(shard),)) for shard in order.shards_of(Rank(rank)))
    vote = Vote(order.generation, order.step, tallies, True, 4.0, 0.1, 0.1, 0.1, 2, 2)
    return replace(vote, **more)


def announce(at: Position, last: Step, samples: int) -> facts.RunStarted:
    """The first fact."""
    return facts.RunStarted("demo", 2, Step(at.step + 1), last, samples, "-")


class World:
    """Feeds a core and keeps what came out. Sessions are numbered as they join."""

    def __init__(self, plan: RunPlan = PLAN, point: RestorePoint = DISK, **core: Any) -> None:
        self.core = Core(plan, point, lambda update, last: 0.1 * update, announce, **core)
        self.now = 0.0
        self.wake: float | None = None
        self.sessions: dict[int, int] = {}
        self.joined = 0
        self.actions: list[Action] = []
        self.told: dict[int, list[ToWorker]] = {}
        self.published: list[facts.Event] = []
        self.closed: list[int] = []
        self.ended: Finished | None = None

    def feed(self, event: Any) -> None:
        """One event; its actions are sorted into `told`, `published` and `ended`."""
        self.actions = self.core.feed(event, self.now)
        self.wake = None
        for action in self.actions:
            match action:
                case Send(session, message):
                    self.told.setdefault(session, []).append(message)
                case Close(session):
                    self.closed.append(session)
                case Publish(fact):
                    self.published.append(fact)
                case WakeAt(time):
                    self.wake = time
                case Finished():
                    self.ended = action

    def join(self, rank: int, **more: Any) -> int:
        """A worker opens a session; returns its number."""
        self.joined += 1
        self.sessions[rank] = self.joined
        self.feed(Joined(self.joined, join_of(rank, **more)))
        return self.joined

    def leave(self, rank: int) -> None:
        """A worker's session ends."""
        self.feed(Left(self.sessions[rank], "killed"))

    def say(self, rank: int, message: FromWorker) -> None:
        """A worker speaks."""
        self.feed(Said(self.sessions[rank], message))

    def stop(self) -> None:
        """The operator asks for an end."""
        self.feed(StopAsked("Ctrl-C"))

    def sleep(self, seconds: float) -> None:
        """Time passes; the core is woken if it asked for it."""
        self.now += seconds
        if self.wake is not None and self.wake <= self.now:
            self.feed(Tick())

    def last(self, rank: int, kind: type[MessageT]) -> MessageT:
        """The newest message of a kind to the worker's present session."""
        found = [message for message in self.told.get(self.sessions[rank], []) if isinstance(message, kind)]
        assert found, f"worker {rank} was told {self.told.get(self.sessions[rank])}"
        return found[-1]

    def facts(self, kind: type[FactT]) -> list[FactT]:
        """Published facts of a kind."""
        return [fact for fact in self.published if isinstance(fact, kind)]

    def is_in(self, phase: Phase) -> bool:
        """Whether the run is in this phase now."""
        return self.core.phase is phase

    @property
    def order(self) -> StepOrder:
        """The step under way, as the first member was told."""
        work = self.last(self.core.roster.members[0].rank, Order).work
        assert isinstance(work, StepWork)
        return work.order

    def start(self, *ranks: int) -> World:
        """Everybody joins and restores: the first step is under way (or the first evaluation)."""
        for rank in ranks or (0, 1):
            self.join(rank)
        self.restore()
        return self

    def restore(self) -> None:
        """Whoever was told to restore does."""
        for rank, session in list(self.sessions.items()):
            if any(isinstance(message, Restore) for message in self.told.get(session, [])[-1:]):
                self.say(rank, Holding(self.last(rank, Restore).step, 0.1, 10))

    def vote(self, *ranks: int, **more: Any) -> None:
        """These (default: all) owners vote on the step under way."""
        order = self.order
        for rank in ranks or order.contributors:
            self.say(int(rank), vote_on(order, int(rank), **more))

    def evaluate(self, ranks: Sequence[int] = (0, 1)) -> None:
        """These workers deliver their shares."""
        for rank in ranks:
            order = self.last(rank, Order)
            assert isinstance(order.work, EvaluateWork)
            self.say(rank, Evaluated(order.generation, order.state, 6.0, 4, 1, ()))

    def saves(self, rank: int) -> Save | None:
        """What the newest order tells a worker about saving."""
        save = self.last(rank, Order).save
        return save if save is not None and rank in save.writers else None

    def ordered(self, rank: int) -> Order:
        """The newest order to save that a worker was given."""
        orders = [each for each in self.told[self.sessions[rank]] if isinstance(each, Order) and each.save is not None]
        return orders[-1]

    def saved(self, rank: int, error: str = "", parameter_hash: str = "good") -> None:
        """The writer of the only share reports the checkpoint that was ordered last."""
        order = self.ordered(rank)
        assert order.save is not None
        self.say(rank, done_of(order.state, order.save.attempt, error, parameter_hash))

    def shared(self, rank: int, shards: int = 2, *, order: Order | None = None) -> None:
        """A writer reports its share of the checkpoint that was ordered last."""
        order = order or self.ordered(rank)
        assert order.save is not None
        self.say(rank, ShardWritten(order.state, order.save.attempt, shards, f"files of {rank}"))


def done_of(step: int, attempt: str, error: str = "", parameter_hash: str = "good") -> CheckpointDone:
    """A writer's last word on an attempt."""
    return CheckpointDone(Step(step), "" if error else f"step-{step}", 1, 0.1, parameter_hash, error, attempt)
