"""The coordinator's decisions: a pure state machine, `feed(event, now) -> actions`.

A step is a transaction. It opens with an `Order`, closes when every contributor voted, and its verdict travels with the
next order. Members change between steps; a death within a step bumps the generation, and the survivors finish the same
step with the dead worker's shards. What was not voted for by everybody was not committed; what was committed is
published before anybody is told, so that the journal never knows less than a worker.

    GATHERING -> RESTORING -> (EVALUATING | STEPPING)* -> CLOSING -> FINISHED
                     ^               |
                     `--- PAUSED <---'   fewer than min_workers are left
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runtime import events as facts
from runtime.cluster.ballot import Ballot, RateOf, Skips, advance, committed_fact
from runtime.cluster.evaluation import Evaluation
from runtime.cluster.membership import Entry, Membership, Role
from runtime.cluster.messages import (
    CheckpointDone,
    Evaluated,
    EvaluateWork,
    ExchangeFailed,
    Finish,
    FromWorker,
    Holding,
    Join,
    Refused,
    Rest,
    Restore,
    RestorePoint,
    StepWork,
    Vote,
    Work,
)
from runtime.cluster.placement import deal, take_over
from runtime.cluster.plan import RunPlan
from runtime.cluster.recovery import agree
from runtime.cluster.saves import Saves, outcome_of
from runtime.cluster.signals import (
    ROLLED_BACK,
    Action,
    Close,
    Event,
    Finished,
    Joined,
    Left,
    Phase,
    Position,
    Publish,
    Said,
    Send,
    StopAsked,
    WakeAt,
)
from runtime.cluster.timers import Timers
from runtime.ids import Generation, Rank, Step

RETRY_SECONDS = 0.25
"""How long a failed exchange waits for the news of who died before the step is simply ordered again."""

Announce = Callable[[Position, Step, int], facts.RunStarted]
"""(where the run begins, its last step, samples in an epoch) -> the run's first fact."""


class Core:
    """The coordinator's state. `feed` is the only way in; the returned actions are the only way out, in order."""

    def __init__(
        self,
        plan: RunPlan,
        point: RestorePoint,
        rate_of: RateOf,
        announce: Announce,
        *,
        after: Position | None = None,
        generation: int = 0,
    ) -> None:
        """`after` and `generation` are the last that the journal knows, when this coordinator succeeds a dead one."""
        self.plan, self.rate_of, self.announce = plan, rate_of, announce
        self.saves = Saves([point])
        self.at = after or Position(point.step, point.cursor, dict(point.counters))
        self.successor = after is not None or generation > 0
        self.phase = Phase.GATHERING
        self.roster = Membership(Generation(generation))
        self.ballot: Ballot | None = None
        self.evaluation: Evaluation | None = None
        self.evaluated_at, self.metrics = -1, dict[str, float]()
        self.stop_asked, self.step_since = "", 0.0
        self.skips = Skips(plan)
        self.timers = Timers()
        self.out: list[Action] = []

    def feed(self, event: Event, now: float) -> list[Action]:
        """Take one event; returns what must be done, in this order. After `Finished` nothing more comes."""
        self.out = []
        if self.finished:
            return self.out
        match event:
            case Joined(session, join):
                self._joined(session, join, now)
            case Left(session, reason):
                self._left(session, reason, now)
            case Said(session, message):
                entry = self.roster.of_session(session)
                if entry is not None:
                    self._said(entry, message, now)
            case StopAsked(by):
                self._stop(by, now)  # a Tick only rings the timers
        while (name := self.timers.due(now)) is not None:
            self._rang(name, now)
        if self.timers.next is not None:
            self.out.append(WakeAt(self.timers.next))
        return self.out

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.phase is Phase.FINISHED

    @property
    def _last(self) -> Step:
        return self.plan.last_step(self.roster.samples_in_epoch)

    def _said(self, entry: Entry, message: FromWorker, now: float) -> None:
        match message:
            case Vote():
                if self.ballot is not None and self.ballot.cast(entry.rank, message) and self.ballot.complete:
                    self._commit(self.ballot, now)
            case ExchangeFailed(generation=generation, reason=reason):
                if self.phase is Phase.STEPPING and generation == self.roster.generation:
                    self.timers.keep("retry", now + RETRY_SECONDS)
                    self._publish(facts.StepAborted(Step(self.at.step + 1), self.roster.generation, reason))
            case Holding():
                self._holding(entry, message, now)
            case Evaluated():
                if self.evaluation is not None and self.evaluation.add(entry.rank, message, self.roster.generation):
                    self._evaluated(self.evaluation, now)
            case CheckpointDone():
                self._saved(message, now)
            case _:
                pass

    def _rang(self, name: str, now: float) -> None:
        match name:
            case "gather":
                self._gathered(now)
            case "retry":
                self._again("an exchange failed though nobody left", now)
            case _:
                self._finish("gave_up", f"no worker came back within {self.plan.wait_seconds:g} s")

    def _publish(self, fact: facts.Event) -> None:
        self.out.append(Publish(fact))

    # ---- coming and going

    def _joined(self, session: int, join: Join, now: float) -> None:
        refusal = self.roster.refusal(join)
        if refusal:
            self.out.append(Send(session, Refused(refusal)))
            return
        before = self.roster.entries.get(join.rank)
        if before is not None:  # a broken connection that nobody noticed, or a zombie
            self.out.append(Send(before.session, Refused(f"worker {join.rank} has opened another session")))
            self._left(before.session, "it opened another session", now)
        self._publish(self.roster.enter(session, join).joined)
        if self.phase is Phase.GATHERING:
            if len(self.roster.entries) >= self.plan.workers:
                self._gathered(now)
            elif self.successor:
                self.timers.keep("gather", now + self.plan.gather_seconds)
        elif self.phase is Phase.PAUSED:
            self._try_to_go_on(now)

    def _left(self, session: int, reason: str, now: float) -> None:
        entry = self.roster.leave(session)
        if entry is None:
            return
        self._publish(entry.lost(reason))
        self.saves.lost(entry.rank)
        if entry.role is Role.WAITING:
            return
        match self.phase:
            case Phase.STEPPING | Phase.EVALUATING:
                self._again(f"worker {entry.rank} left: {reason}", now)
            case Phase.RESTORING:
                self._restored(now)
            case Phase.CLOSING if not self.roster.active:
                self._pause("every worker is gone before the last checkpoint was written", now)
            case Phase.CLOSING:
                self._close(now)
            case _:
                pass

    # ---- from nothing to a common state

    def _gathered(self, now: float) -> None:
        """Everybody who will come is there: agree on the newest state that still exists, and on who holds it."""
        self.timers.cancel("gather")
        entries = self.roster.with_role(*Role)
        if not entries:
            return
        self.timers.cancel("wait")
        agreement = agree(entries, self.at, self.saves.newest)
        before, self.at = self.at.step, agreement.position
        if self.at.step < before:
            self.at.counters[ROLLED_BACK] = self.roster.generation
            self.saves.forget_after(self.at.step)
            self._publish(facts.RolledBack(before, self.at.step, "no living worker holds the newer state"))
        if not self.successor:
            self.at.counters.pop(ROLLED_BACK, None)  # of an earlier run, whose generations are over
            self._publish(self.announce(self.at, self._last, self.roster.samples_in_epoch))
        self.successor = True
        if agreement.ready:
            for entry in agreement.ready:
                entry.role = Role.ACTIVE
            self._boundary(now)
            return
        self.phase = Phase.RESTORING
        at = self.at
        for entry in entries:
            entry.role, entry.holds = Role.CATCHING_UP, -1
            self.out.append(Send(entry.session, Restore(at.step, at.cursor, at.counters, self.saves.newest.path)))

    def _restored(self, now: float) -> None:
        entries = self.roster.with_role(Role.CATCHING_UP)
        if not entries:
            self._pause("every worker left while restoring", now)
        elif all(entry.holds == self.at.step for entry in entries):
            for entry in entries:
                entry.role = Role.ACTIVE
            self._boundary(now)

    def _holding(self, entry: Entry, message: Holding, now: float) -> None:
        if self.phase is Phase.RESTORING:
            entry.holds = message.step
            self._restored(now)
        elif entry.role is Role.CATCHING_UP and message.step >= self.at.step - 1:
            entry.role = Role.ACTIVE
            self._publish(entry.healed(message))
            if self.phase is Phase.PAUSED:
                self._try_to_go_on(now)

    # ---- too few workers

    def _pause(self, reason: str, now: float) -> None:
        self.phase, self.ballot, self.evaluation = Phase.PAUSED, None, None
        self.timers.only("wait", now + self.plan.wait_seconds)
        self._publish(facts.Warned("coordinator", f"paused: {reason}", "waiting for a worker to come back"))
        self.saves.wanted = self.saves.wanted or not self.saves.holds(self.at.step)
        self._agree(reason, again=True)
        self._order(Rest(reason), now)
        self._try_to_go_on(now)

    def _try_to_go_on(self, now: float) -> None:
        """Leave PAUSED when enough workers are there: from a living worker's state if there is one, else from disk."""
        if not self.roster.active:
            for entry in self.roster.with_role(Role.CATCHING_UP):  # what it has by now, only its next Join can tell
                self.out.append(Close(entry.session))
                self._left(entry.session, "nobody is left who could give it the state", now)
            if self.roster.entries:
                self.phase, self.successor = Phase.GATHERING, True
                self.timers.keep("gather", now + self.plan.gather_seconds)
                if len(self.roster.entries) >= self.plan.workers:
                    self._gathered(now)
        elif len(self.roster.active) >= self.plan.min_workers:
            self.timers.cancel("wait")
            self._boundary(now)
        elif self.roster.with_role(Role.WAITING):
            self._agree("a worker joined")
            self._order(Rest("a newcomer fetches the state"), now)
            if len(self.roster.active) >= self.plan.min_workers:
                self._try_to_go_on(now)

    # ---- the boundary between two steps

    def _boundary(self, now: float) -> None:
        """The committed state is `at`: order whatever comes next."""
        self.ballot = self.evaluation = None
        self.timers.cancel("retry")
        if len(self.roster.active) < self.plan.min_workers:
            self._pause(f"{len(self.roster.active)} of at least {self.plan.min_workers} workers are left", now)
            return
        last = self._last
        self.saves.consider(self.plan, self.at.step, now)
        evaluate = self.plan.evaluation_due(self.at.step, last) and self.evaluated_at != self.at.step
        if evaluate and not self.stop_asked:
            self._agree("the members changed")
            answers = self.plan.answers_due(self.at.step, last)
            self.phase, self.evaluation = Phase.EVALUATING, Evaluation(self.roster.active, now)
            self._order(EvaluateWork(self.roster.active, answers, self.plan.evaluate_max_batches), now)
        elif self.at.step >= last or self.stop_asked:
            self._close(now)
        else:
            self._agree("the members changed")
            self.step_since = now
            self._open(deal(self.roster.active, self.plan.shards, self.roster.speeds), now)

    def _open(self, owners: tuple[Rank, ...], now: float) -> None:
        samples = self.plan.batch_at(self.at.cursor, self.roster.samples_in_epoch)
        order = self.roster.step_order(self.at, samples, owners)
        self.phase, self.ballot = Phase.STEPPING, Ballot(order)
        self._order(StepWork(order), now)

    def _agree(self, why: str, *, again: bool = False) -> None:
        """Let newcomers in, and open a new generation if the members are not those of the last order."""
        for entry, heal in self.roster.admit(self.at):
            self.out.append(Send(entry.session, heal))
        if self.roster.settle(again=again):
            self._publish(self.roster.started(Step(self.at.step + 1), why))

    def _order(self, work: Work, now: float) -> None:
        """Send `work` to every member, with the last verdict, and with the order to save if a checkpoint is wanted."""
        at, roster, writer = self.at, self.roster, -1
        evaluating = isinstance(work, EvaluateWork)  # such a state is saved afterwards, with what was found
        if self.saves.may_begin and roster.active and not evaluating:
            writer = self.saves.begin(at, roster.active[0], now)
            self._publish(facts.CheckpointStarted(at.step))
        metrics = self.metrics if self.evaluated_at == at.step else {}
        order = replace(roster.order(at, work, writer), metrics=metrics)
        for entry in roster.with_role(Role.ACTIVE, Role.CATCHING_UP):
            self.out.append(Send(entry.session, order))

    def _again(self, why: str, now: float) -> None:
        """The work under way cannot end as it was ordered: order it again for whoever is left."""
        self.timers.cancel("retry")
        ballot = self.ballot
        if self.phase is not Phase.STEPPING or ballot is None or not self.roster.active:
            if self.phase in (Phase.STEPPING, Phase.EVALUATING):
                self._agree(why, again=True)
                self._boundary(now)
            return
        self._publish(facts.StepAborted(ballot.order.step, self.roster.generation, why))
        if len(self.roster.active) < self.plan.min_workers:
            self._boundary(now)
            return
        self._agree(why, again=True)
        self._open(take_over(ballot.order.owners, self.roster.active), now)

    # ---- what the work led to

    def _commit(self, ballot: Ballot, now: float) -> None:
        count = ballot.count()
        self.at = advance(self.at, ballot, count, self.rate_of, self._last)
        self._publish(committed_fact(ballot, count, self.at, now - self.step_since))
        if failure := self.skips.judge(self.at.verdict):
            self._finish("failed", failure)
        else:
            self._boundary(now)

    def _evaluated(self, evaluation: Evaluation, now: float) -> None:
        for fact in evaluation.facts(self.at.step, now):
            self._publish(fact)
        self.evaluated_at, self.metrics = self.at.step, evaluation.metrics
        self._boundary(now)

    def _saved(self, message: CheckpointDone, now: float) -> None:
        self._publish(outcome_of(message))
        self.saves.done(message.step, message.path if not message.error else "")
        if self.phase is Phase.CLOSING:
            if message.error and message.step == self.at.step:
                self._finish("failed", f"the last checkpoint could not be written: {message.error}")
            else:
                self._close(now)

    # ---- the end

    def _stop(self, by: str, now: float) -> None:
        self.stop_asked = by
        self._publish(facts.StopRequested(by))
        if self.phase is Phase.EVALUATING:
            self._again("stop requested", now)
        elif self.phase is Phase.PAUSED and self.roster.active:
            self._close(now)
        elif self.phase in (Phase.GATHERING, Phase.RESTORING, Phase.PAUSED):
            self._finish("stopped", by)

    def _close(self, now: float) -> None:
        """Nothing is left to do but to make sure that the committed state is on disk."""
        self.phase = Phase.CLOSING
        self.timers.cancel("wait")
        if self.saves.holds(self.at.step):
            stopped = self.at.step < self._last
            self._finish("stopped" if stopped else "done", self.stop_asked if stopped else "")
            return
        if self.saves.writing != self.at.step:
            self.saves.wanted = True
        self._agree("closing")
        self._order(Rest("closing"), now)

    def _finish(self, outcome: str, reason: str) -> None:
        self.phase, self.timers = Phase.FINISHED, Timers()
        for entry in self.roster.with_role(*Role):
            self.out.append(Send(entry.session, Finish(outcome, reason)))
        self.out.append(Finished(outcome, reason))
