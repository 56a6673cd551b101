"""Workers come and go, agree on a common state, and wait for each other when they are too few.

A worker that leaves is `take_out` of the book; what that means for the work under way is said here too."""

from __future__ import annotations

from dataclasses import replace

from runtime import events as facts
from runtime.cluster.book import Again, Book, Boundary, Closing, End, Gathered, GoOn, Next, Pause, RollBack
from runtime.cluster.membership import Entry, Role
from runtime.cluster.messages import Holding, Join, Rest, Restore
from runtime.cluster.recovery import agree
from runtime.cluster.signals import ROLLED_BACK, Close, Phase, Position
from runtime.cluster.slices import deal_slices, held_by


def entered(book: Book, session: int, join: Join, now: float) -> Next | None:
    """A worker was let in."""
    book.publish(book.roster.enter(session, join).joined)
    if book.phase is Phase.PAUSED:
        return GoOn()
    if book.phase is Phase.HELD:
        return Boundary()
    if book.phase is Phase.CLOSING and not book.roster.writers:
        return Closing()
    if book.phase is Phase.GATHERING:
        if len(book.roster.entries) >= book.plan.workers:
            return Gathered()
        if book.successor:
            _gather(book, now)
    return None


def _gather(book: Book, now: float) -> None:
    """Do not wait for ever for whoever is missing, unless nothing goes on without."""
    if book.plan.stages == 1:
        book.timers.keep("gather", now + book.plan.gather_seconds)


def left(book: Book, session: int, reason: str) -> Next | None:
    """A session ended, however."""
    entry = book.roster.of_session(session)
    role = book.take_out(session, reason)
    if entry is None or role is Role.WAITING:
        return None
    match book.phase:
        case Phase.STEPPING | Phase.EVALUATING | Phase.HELD:
            return Again(f"worker {entry.rank} left: {reason}")
        case Phase.RESTORING:
            return restored(book)
        case Phase.CLOSING if not book.roster.active:
            return Pause("every worker is gone before the last checkpoint was written")
        case Phase.CLOSING if not book.roster.slices and not book.roster.is_whole:
            return Pause("a stage of the pipeline is gone before the last checkpoint was written")
        case Phase.CLOSING:
            return Closing()
        case Phase.PAUSED if book.roster.active and book.saves.may_begin:
            return Pause(f"worker {entry.rank} left before the state was saved")
        case _:
            return None


def gathered(book: Book) -> Next | None:
    """Everybody who will come is there: agree on the newest state that still exists, and on who holds it."""
    book.timers.cancel("gather")
    entries = book.roster.with_role(*Role)
    if not entries:
        return None
    agreement = agree(entries, book.at, book.saves.newest, book.roster.have_all)
    if agreement.ready or _who_can_restore(book):
        book.timers.cancel("wait")
    _back_to(book, agreement.position, "no living worker holds the newer state")
    if not book.successor:
        book.at.counters.pop(ROLLED_BACK, None)  # of an earlier run, whose generations are over
        first, started = entries[0].join, book.announce(book.at, book.last, book.roster.samples_in_epoch)
        book.publish(replace(started, parameters=first.parameters, trained_parameters=first.trained_parameters))
    book.successor = True
    if agreement.ready:
        for entry in agreement.ready:
            entry.role = Role.ACTIVE
        return Boundary()
    restore_everybody(book)
    return None


def bereft(book: Book, then: Next | None) -> Next | None:
    """What follows in truth: the way back, when slices of the optimizer's state went with those who left."""
    roster = book.roster
    active = roster.with_role(Role.ACTIVE)
    if then is None or isinstance(then, End | RollBack) or not active or not roster.slices or roster.have_all(active):
        return then
    missing = sum(not have for have in roster.holders)
    return RollBack(
        f"{missing} of {roster.slices} slices of the optimizer's state were lost with the last that had them"
    )


def roll_back(book: Book, reason: str) -> Next | None:
    """Everybody goes back to the newest checkpoint, in a generation of its own."""
    book.ballot = book.evaluation = None
    book.timers.cancel("retry")
    book.restart_newcomers(reason)
    point = book.saves.newest
    _back_to(book, Position(point.step, point.cursor, dict(point.counters)), reason)
    book.verified_at = point.step
    book.roster.members = ()
    restore_everybody(book)
    return None


def _back_to(book: Book, position: Position, reason: str) -> None:
    """The committed state is `position`; if that is an older one, what came after it is no part of the run."""
    before, book.at = book.at.step, position
    if position.step < before:
        position.counters[ROLLED_BACK] = book.roster.generation
        book.saves.forget_after(position.step)
        book.publish(facts.RolledBack(before, position.step, reason, position.cursor))


def _who_can_restore(book: Book) -> tuple[Entry, ...]:
    """Everybody, where the newest state is the initial model; else those who reach the disk that it is on."""
    entries = book.roster.with_role(*Role)
    return tuple(entry for entry in entries if not (book.saves.newest.path and entry.join.is_away))


def restore_everybody(book: Book) -> None:
    """Order whoever is there to load the state of the book's position from the newest checkpoint; where the optimizer
    is sharded, each its slices of it. Who cannot is healed by those who could; where nobody can, one is waited for."""
    entries, at, slices = _who_can_restore(book), book.at, book.plan.slices
    book.phase = Phase.RESTORING if entries else Phase.GATHERING
    for entry in book.roster.with_role(*Role):
        if entry not in entries:
            book.roster.distrust(entry)
    ranks = [entry.rank for entry in entries]
    keepers = deal_slices(ranks, ((),) * slices, book.plan.replicas) if slices and ranks else ()
    for entry in entries:
        entry.role, entry.holds, own = Role.CATCHING_UP, -1, held_by(entry.rank, keepers)
        entry.slices = frozenset(own)
        book.send(entry.session, Restore(at.step, at.cursor, at.counters, book.saves.newest.path, own))


def restored(book: Book) -> Next | None:
    """Go on if whoever is left has restored the state."""
    entries = book.roster.with_role(Role.CATCHING_UP)
    if not entries:
        return Pause("every worker left while restoring")
    if all(entry.holds == book.at.step for entry in entries):
        for entry in entries:
            book.roster.trust(entry)
        return Boundary()
    return None


def holding(book: Book, entry: Entry, message: Holding) -> Next | None:
    """A worker says which state it holds now."""
    if book.phase is Phase.RESTORING:
        entry.holds = message.step
        return restored(book)
    if entry.role is Role.CATCHING_UP and message.step >= book.at.step - 1:
        book.roster.trust(entry)
        book.publish(entry.healed(message))
        if book.phase is Phase.PAUSED:
            return GoOn()
        if book.phase is Phase.HELD:
            return Boundary()
        if book.phase is Phase.CLOSING and book.saves.attempt is None:  # nobody could write before
            return Closing()
    elif entry.role is Role.ACTIVE and message.sources and book.roster.slices:  # a newcomer that was given its slices
        book.publish(entry.healed(message))
    return None


def pause(book: Book, reason: str, now: float) -> Next:
    """Too few workers are left: save what there is, and wait."""
    book.phase, book.ballot, book.evaluation = Phase.PAUSED, None, None
    book.timers.only("wait", now + book.plan.wait_seconds)
    if book.held:
        book.timers.cancel("wait")
    book.publish(facts.Warned("coordinator", f"paused: {reason}", "waiting for a worker to come back"))
    book.saves.wanted = book.saves.wanted or not book.saves.holds(book.at.step)
    book.agree(reason, again=True)
    book.order(Rest(reason), now)
    return GoOn()


def go_on(book: Book, now: float) -> Next | None:
    """Leave PAUSED when enough workers are there: from a living worker's state if there is one, else from disk."""
    roster = book.roster
    book.quarrel.forgive(now)
    if book.quarrel.exiles:
        book.timers.keep("forgive", min(book.quarrel.exiles.values()))
    if not roster.is_whole:  # nobody is left who has the state; or nobody of some stage of a pipeline
        book.quarrel.forgive_everybody()
        for entry in roster.with_role(Role.CATCHING_UP):  # what it has by now, only its next Join can tell
            book.out.append(Close(entry.session))
            book.take_out(entry.session, "nobody is left who could give it the state")
        for entry in roster.with_role(Role.ACTIVE):
            roster.demote(entry, book.at)
        if roster.entries:
            book.phase, book.successor = Phase.GATHERING, True
            _gather(book, now)
            if len(roster.entries) >= book.plan.workers:
                return Gathered()
        return None
    if book.enough:
        book.timers.cancel("wait")
        return Boundary()
    if roster.with_role(Role.WAITING):
        book.agree("a worker joined")
        book.order(Rest("a newcomer fetches the state"), now)
        if book.enough:
            return GoOn()
    return None
