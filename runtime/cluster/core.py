"""The coordinator's decisions: a pure state machine, `feed(event, now) -> actions`.

A step is a transaction. It opens with an `Order`, closes when every contributor voted, and its verdict travels with the
next order. Members change between steps; a death within a step bumps the generation, and the survivors finish the same
step with the dead worker's shards. What was not voted for by everybody was not committed; what was committed is
published before anybody is told, so that the journal never knows less than a worker.

    GATHERING -> RESTORING -> (EVALUATING | STEPPING)* -> CLOSING -> FINISHED
                     ^               |
                     |--- PAUSED <---|   fewer than min_workers are left
                     `---- HELD <----'   somebody asked for a pause

What is known is in the `book`; what is decided is in `gathering`, `boundary`, `outcome`, `drift` and `ending`. Here is
what leads to what.
"""

from __future__ import annotations

from runtime.cluster.ballot import RateOf
from runtime.cluster.book import Again, Announce, Book, Boundary, Closing, End, Gathered, GoOn, Next, Pause, RollBack
from runtime.cluster.boundary import again, boundary, exchange_failed, retry
from runtime.cluster.ending import close, finish, give_up, stop
from runtime.cluster.evaluation import ScoresOf, no_scores
from runtime.cluster.gathering import bereft, entered, gathered, go_on, holding, left, pause, roll_back
from runtime.cluster.hold import hold, resume, save
from runtime.cluster.membership import Entry, Membership
from runtime.cluster.messages import (
    CheckpointDone,
    Evaluated,
    ExchangeFailed,
    FromWorker,
    Holding,
    Join,
    Refused,
    RestorePoint,
    ShardWritten,
    Vote,
)
from runtime.cluster.outcome import evaluated, saved, share_written, voted
from runtime.cluster.plan import RunPlan
from runtime.cluster.rollback import go_back
from runtime.cluster.saves import Saves
from runtime.cluster.signals import (
    Action,
    Event,
    Joined,
    Left,
    PauseAsked,
    Phase,
    Position,
    ResumeAsked,
    Said,
    SaveAsked,
    StopAsked,
    WakeAt,
)


class Core:
    """`feed` is the only way in; the returned actions are the only way out, in order. Feed it a Tick to begin with."""

    def __init__(
        self,
        plan: RunPlan,
        point: RestorePoint,
        rate_of: RateOf,
        announce: Announce,
        *,
        after: Position | None = None,
        generation: int = 0,
        scores_of: ScoresOf = no_scores,
        held: str = "",
    ) -> None:
        """`after` and `generation` are the last that the journal knows, when this coordinator succeeds a dead one;
        `held` is who asked for the pause that the run is in, or on its way to."""
        self.book = Book(plan, point, rate_of, announce, after, generation, scores_of, held)

    @property
    def phase(self) -> Phase:
        """Where the run is."""
        return self.book.phase

    @property
    def at(self) -> Position:
        """The committed state."""
        return self.book.at

    @property
    def roster(self) -> Membership:
        """Who is in the run."""
        return self.book.roster

    @property
    def saves(self) -> Saves:
        """What is on disk."""
        return self.book.saves

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.phase is Phase.FINISHED

    def feed(self, event: Event, now: float) -> list[Action]:
        """Take one event; returns what must be done, in this order. After `Finished` nothing more comes."""
        book = self.book
        book.out = []
        if self.finished:
            return book.out
        if book.phase is Phase.GATHERING and book.successor and not book.held:
            book.timers.keep("wait", now + book.plan.wait_seconds)
        match event:
            case Joined(session, join):
                self._joined(session, join, now)
            case Left(session, reason):
                self._follow(left(book, session, reason), now)
            case Said(session, message):
                entry = book.roster.of_session(session)
                if entry is not None:
                    self._follow(self._said(entry, message, now), now)
            case _:
                self._follow(self._asked(event, now), now)
        while (name := book.timers.due(now)) is not None:
            self._follow(self._rang(name, now), now)
        if book.timers.next is not None:
            book.out.append(WakeAt(book.timers.next))
        return book.out

    def _asked(self, event: Event, now: float) -> Next | None:
        match event:
            case StopAsked(by):
                return stop(self.book, by)
            case PauseAsked(by):
                return hold(self.book, by)
            case ResumeAsked():
                return resume(self.book, now)
            case SaveAsked():
                return save(self.book)
            case _:
                return None  # a Tick only rings the timers

    def _joined(self, session: int, join: Join, now: float) -> None:
        book = self.book
        refusal = book.roster.refusal(join)
        if refusal:
            book.send(session, Refused(refusal))
            return
        before = book.roster.entries.get(join.rank)
        if before is not None:  # a broken connection that nobody noticed, or a zombie
            book.send(before.session, Refused(f"worker {join.rank} has opened another session"))
            self._follow(left(book, before.session, "it opened another session"), now)
        self._follow(entered(book, session, join, now), now)

    def _said(self, entry: Entry, message: FromWorker, now: float) -> Next | None:
        book = self.book
        match message:
            case Vote():
                return voted(book, entry, message, now)
            case ExchangeFailed():
                return exchange_failed(book, entry, message, now)
            case Holding():
                return holding(book, entry, message)
            case Evaluated():
                return evaluated(book, entry, message, now)
            case ShardWritten():
                return share_written(book, entry, message)
            case CheckpointDone():
                return saved(book, message)
            case _:
                return None

    def _rang(self, name: str, now: float) -> Next | None:
        match name:
            case "gather":
                return gathered(self.book)
            case "retry":
                return retry(self.book, now)
            case "roll back":
                return go_back(self.book, now)
            case "forgive":
                return GoOn() if self.phase is Phase.PAUSED else None
            case _:
                return give_up(self.book)

    def _follow(self, then: Next | None, now: float) -> None:
        """One decision leads to the next, until the run waits for somebody again."""
        book = self.book
        while (then := bereft(book, then)) is not None:
            match then:
                case Gathered():
                    then = gathered(book)
                case GoOn():
                    then = go_on(book, now)
                case Boundary():
                    then = boundary(book, now)
                case Again(why):
                    then = again(book, why, now)
                case Pause(reason):
                    then = pause(book, reason, now)
                case RollBack(reason):
                    then = roll_back(book, reason)
                case Closing():
                    then = close(book, now)
                case End(outcome, reason):
                    then = finish(book, outcome, reason)
