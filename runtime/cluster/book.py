"""The coordinator's book: everything that it knows of the run, and how it speaks of it. It decides nothing.

The decisions are functions of the book and of the time, one module for each: `gathering`, `boundary`, `outcome`,
`drift`, `ending`. Each returns the `Next` that follows from it, if any; `core` takes them one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from runtime import events as facts
from runtime.cluster.ballot import Ballot, RateOf
from runtime.cluster.division import Division
from runtime.cluster.evaluation import Evaluation, ScoresOf, no_scores
from runtime.cluster.explosion import PASSED_OVER, is_calm
from runtime.cluster.grid import Grid
from runtime.cluster.inquiry import Inquiry
from runtime.cluster.membership import Membership, Role
from runtime.cluster.messages import EvaluateWork, RestorePoint, StepWork, ToWorker, Work
from runtime.cluster.plan import RunPlan
from runtime.cluster.quarrel import Quarrel
from runtime.cluster.saves import Saves
from runtime.cluster.signals import Action, Close, Phase, Position, Publish, Send
from runtime.cluster.slices import Holders, deal_slices, held_by
from runtime.cluster.timers import Timers
from runtime.ids import Generation, Rank, Step

Announce = Callable[[Position, Step, int], facts.RunStarted]
"""(where the run begins, its last step, samples in an epoch) -> the run's first fact."""


@dataclass(frozen=True)
class Gathered:
    """Nobody is waited for any longer: agree on a state."""


@dataclass(frozen=True)
class GoOn:
    """Leave the pause, if enough workers are there."""


@dataclass(frozen=True)
class Boundary:
    """The committed state is `at`: order whatever comes next."""


@dataclass(frozen=True)
class Again:
    """The work under way cannot end as it was ordered: order it again for whoever is left."""

    why: str


@dataclass(frozen=True)
class Pause:
    """Too few workers are left."""

    reason: str


@dataclass(frozen=True)
class RollBack:
    """Nobody's state can be believed: go back to the newest one on disk."""

    reason: str


@dataclass(frozen=True)
class Closing:
    """Nothing is left to do but to save."""


@dataclass(frozen=True)
class End:
    """The run is over."""

    outcome: str
    reason: str


Next: TypeAlias = Gathered | GoOn | Boundary | Again | Pause | RollBack | Closing | End


class Book:
    """See the module. `out` collects the actions of the event that is being taken, in order."""

    def __init__(
        self, plan: RunPlan, point: RestorePoint, rate_of: RateOf, announce: Announce, after: Position | None,
        generation: int, scores_of: ScoresOf = no_scores, held: str = "",
    ) -> None:  # fmt: skip
        self.plan, self.rate_of, self.announce = plan, rate_of, announce
        self.saves = Saves([point])
        self.at = after or Position(point.step, point.cursor, dict(point.counters))
        self.verified_at = point.step
        """The last step whose replicas were compared and found equal."""
        self.successor = after is not None or generation > 0
        self.phase = Phase.GATHERING
        self.grid = Grid(plan.stages)
        self.roster = Membership(Generation(generation), slices=plan.slices, grid=self.grid)
        self.dealt: tuple[tuple[Generation, Step], Holders] | None = None
        """(generation, state) of the last order, and who keeps which slice according to it."""
        self.division = Division()
        self.quarrel = Quarrel()
        self.ballot: Ballot | None = None
        self.evaluation: Evaluation | None = None
        self.scores_of = scores_of
        self.evaluated_at, self.metrics = -1, dict[str, float]()
        self.stop_asked, self.step_since = "", 0.0
        self.held = held
        """Who asked for a pause; empty while nobody does."""
        self.inquiry = Inquiry()
        self.timers = Timers()
        self.out: list[Action] = []

    @property
    def last(self) -> Step:
        """The step after which the run is done."""
        passed_over = int(self.at.counters.get(PASSED_OVER, 0))
        return self.plan.last_step(self.roster.samples_in_epoch, passed_over)

    @property
    def enough(self) -> bool:
        """Whether the run may go on with the workers that hold its state."""
        active = self.roster.active
        return len(self.grid.leads(active)) * self.plan.stages >= self.plan.fewest

    def publish(self, fact: facts.Event) -> None:
        """Write a fact to the journal before anything that follows."""
        self.out.append(Publish(fact))

    def send(self, session: int, message: ToWorker) -> None:
        """Say something on a session."""
        self.out.append(Send(session, message))

    def agree(self, why: str, *, again: bool = False) -> None:
        """Let newcomers in, and open a new generation if the members are not those of the last order."""
        for entry, heal in self.roster.admit(self.at, self.quarrel.exiles):
            self.send(entry.session, heal)
        if self.roster.settle(again=again):
            self.publish(self.roster.started(Step(self.at.step + 1), why))

    def deal(self, workers: Collection[Rank] | None = None) -> Holders:
        """Who keeps which slice from the next order on: these workers, each its share; None: whoever holds it."""
        holders = self.roster.holders
        if not holders:
            return ()
        place = self.roster.generation, self.at.step
        if workers is None:  # an order that only looks on moves nothing, and undoes nothing
            return self.dealt[1] if self.dealt is not None and self.dealt[0] == place else holders
        keepers = deal_slices(workers, holders, self.plan.replicas)
        if self.dealt is not None and self.dealt[0] == place and self.dealt[1] != keepers:
            self.agree("slices of the optimizer's state move", again=True)  # once in a generation and state
        return keepers

    def deliver_slices(self) -> None:
        """A step was committed: who was to keep slices holds them now, and nobody else."""
        keepers = self.dealt[1] if self.dealt is not None else ()
        for entry in self.roster.with_role(Role.ACTIVE):
            entry.slices = frozenset(held_by(entry.rank, keepers))

    def order(self, work: Work, now: float, keepers: Holders | None = None) -> None:
        """Send `work` to every member, with the last verdict, and with the order to save if a checkpoint is wanted."""
        at, roster, save = self.at, self.roster, None
        keepers = self.deal() if keepers is None else keepers
        self.dealt = (roster.generation, at.step), keepers
        if keepers:
            self.saves.begin_anew(at.step, roster.generation)
        evaluating = isinstance(work, EvaluateWork)  # such a state is saved afterwards, with what was found
        goes_on = isinstance(work, StepWork) or self.phase is Phase.HELD
        worth_keeping = is_calm(at.counters) or not goes_on  # the end of a run is saved as it is
        if self.saves.may_begin and roster.is_whole and roster.writers and not evaluating and worth_keeping:
            save = self.saves.begin(at, roster.generation, roster.writers, now)
            self.publish(facts.CheckpointStarted(at.step))
        metrics = self.metrics if self.evaluated_at == at.step else {}
        order = replace(roster.order(at, work, save, keepers), metrics=metrics)
        for entry in roster.with_role(Role.ACTIVE, Role.CATCHING_UP):
            self.send(entry.session, replace(order, work=self.grid.work(work, entry.rank)))

    def restart_newcomers(self, reason: str) -> None:
        """Whoever is catching up joins anew, and must not be believed: what it has by now may be of no use."""
        for entry in self.roster.with_role(Role.CATCHING_UP):
            self.roster.distrust(entry)
            self.out.append(Close(entry.session))
            self.take_out(entry.session, reason)

    def take_out(self, session: int, reason: str) -> Role | None:
        """A session ended: its worker is no member any more. Returns what it was; None when it was replaced already."""
        entry = self.roster.leave(session)
        if entry is None:
            return None
        self.publish(entry.lost(reason))
        self.saves.lost(entry.rank)
        return entry.role
