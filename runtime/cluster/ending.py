"""The end of a run: asked for, reached, or given up. No run ends with a committed state that is not on disk, unless
nobody is left who could write it."""

from __future__ import annotations

from runtime import events as facts
from runtime.cluster.book import Again, Book, Closing, End, Next
from runtime.cluster.membership import Role
from runtime.cluster.messages import Finish, Rest
from runtime.cluster.signals import Finished, Phase
from runtime.cluster.timers import Timers


def stop(book: Book, by: str) -> Next | None:
    """Somebody asks for an end; a step under way is finished first."""
    book.stop_asked = by
    book.publish(facts.StopRequested(by))
    if book.phase is Phase.EVALUATING:
        return Again("stop requested")
    if book.phase is Phase.HELD or (book.phase is Phase.PAUSED and book.roster.is_whole):
        return Closing()
    if book.phase in (Phase.GATHERING, Phase.RESTORING, Phase.PAUSED):
        return End("stopped", by)
    return None


def close(book: Book, now: float) -> Next | None:
    """Nothing is left to do but to make sure that the committed state is on disk; for that, somebody who reaches it."""
    book.phase = Phase.CLOSING
    if book.roster.writers:
        book.timers.cancel("wait")
    else:
        book.timers.keep("wait", now + book.plan.wait_seconds)
    if book.saves.holds(book.at.step):
        stopped = book.at.step < book.last
        return End("stopped" if stopped else "done", book.stop_asked if stopped else "")
    if book.saves.writing != book.at.step:
        book.saves.wanted = True
    book.agree("closing")
    book.order(Rest("closing"), now)
    return None


def give_up(book: Book) -> Next:
    """Nobody came back in time."""
    return End("gave_up", f"no worker came back within {book.plan.wait_seconds:g} s")


def finish(book: Book, outcome: str, reason: str) -> Next | None:
    """Say goodbye to everybody."""
    book.phase, book.timers = Phase.FINISHED, Timers()
    for entry in book.roster.with_role(*Role):
        book.send(entry.session, Finish(outcome, reason))
    book.out.append(Finished(outcome, reason))
    return None
