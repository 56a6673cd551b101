"""The boundary between two steps, where everything that changes changes: members, the division of the shards, the
generation. A death within a step is a boundary of its own: the same step opens anew for whoever is left."""

from __future__ import annotations

from runtime import events as facts
from runtime.cluster import explosion, rollback
from runtime.cluster.ballot import Ballot, rate_at
from runtime.cluster.book import Again, Book, Boundary, Closing, Next, Pause
from runtime.cluster.evaluation import Evaluation
from runtime.cluster.hold import is_held, stand
from runtime.cluster.membership import Entry, Role
from runtime.cluster.messages import EvaluateWork, ExchangeFailed, Rest, StepWork
from runtime.cluster.placement import take_over
from runtime.cluster.signals import Close, Phase
from runtime.ids import Rank, Step

_AT_REST = (Phase.EVALUATING, Phase.CLOSING, Phase.PAUSED, Phase.HELD)
"""Phases in which nothing is summed, but slices are spread; and stages of a pipeline evaluate together."""


def boundary(book: Book, now: float) -> Next | None:
    """The committed state is `at`: order whatever comes next."""
    book.ballot = book.evaluation = None
    book.timers.cancel("retry")
    book.quarrel.forgive(now)
    if not book.enough:
        return Pause(f"{len(book.roster.active)} of at least {book.plan.fewest} workers are left")
    if rollback.due(book, now):
        return None
    last = book.last
    book.saves.consider(book.plan, book.at.step, now)
    if explosion.is_first_after_retreat(book.at.counters, book.at.step) and not book.saves.holds(book.at.step):
        book.saves.wanted = True  # what is on disk does not know which samples were passed over
    if is_held(book):
        stand(book, now)
        return None
    evaluate = book.plan.evaluation_due(book.at.step, last) and book.evaluated_at != book.at.step
    if evaluate and not book.stop_asked:
        book.agree("the members changed")
        answers = book.plan.answers_due(book.at.step, last)
        book.phase, book.evaluation = Phase.EVALUATING, Evaluation(book.roster.active, now, book.scores_of)
        book.order(EvaluateWork(book.roster.active, answers, book.plan.evaluate_max_batches), now)
    elif book.at.step >= last or book.stop_asked:
        return Closing()
    else:
        book.agree("the members changed")
        book.step_since = now
        open_step(book, divided(book), now)
    return None


def divided(book: Book) -> tuple[Rank, ...]:
    """The owners of the next step's shards, by what is known of the workers' speeds."""
    paces = {lead: book.roster.paces[lead] for lead in book.grid.leads(book.roster.active)}
    for fact in book.division.follow(paces, book.plan.shards, Step(book.at.step + 1)):
        book.publish(fact)
    return book.division.owners


def open_step(
    book: Book, owners: tuple[Rank, ...], now: float, *, repeated: bool = False, inspect: bool = False
) -> None:
    """Order the step after `at`, with these owners of its shards; `repeated` if it had others before."""
    keepers = book.deal(set(owners))
    samples = book.plan.batch_at(book.at.cursor, book.roster.samples_in_epoch)
    compare = book.plan.verify_every > 0 and len(set(owners)) > 1
    verify = compare and (
        book.plan.verify_due(Step(book.at.step + 1)) or book.saves.may_begin
    )  # what is saved is right
    order = book.roster.step_order(book.at, samples, owners, verify=verify, inspect=inspect)
    book.phase, book.ballot = Phase.STEPPING, Ballot(order, repeated, grid=book.grid)
    update = int(book.at.counters.get("applied", 0)) + 1
    book.order(StepWork(order, rate_at(book.at, update, book.rate_of, book.last), update), now, keepers)


def again(book: Book, why: str, now: float) -> Next | None:
    """The work under way cannot end as it was ordered: order it again for whoever is left."""
    book.timers.cancel("retry")
    ballot = book.ballot
    if book.phase is not Phase.STEPPING or ballot is None or not book.roster.active:
        if book.phase in (Phase.STEPPING, Phase.EVALUATING, Phase.HELD):
            book.agree(why, again=True)
            return Boundary()
        if book.phase in (Phase.CLOSING, Phase.PAUSED) and book.roster.active:
            book.agree(why, again=True)
            book.order(Rest(why), now)
        return None
    book.publish(facts.StepAborted(ballot.order.step, book.roster.generation, why))
    if not book.enough:
        return Boundary()
    book.agree(why, again=True)
    open_step(book, take_over(ballot.order.owners, book.grid.leads(book.roster.active)), now, repeated=True)
    return None


def exchange_failed(book: Book, entry: Entry, message: ExchangeFailed, now: float) -> Next | None:
    """A worker could not have the sum: wait for the news of who died."""
    if book.roster.slices:
        book.saves.never_whole(Step(message.step - 1), entry.rank)
    together = book.roster.slices > 0 or book.plan.stages > 1
    may_exchange = book.phase is Phase.STEPPING or (together and book.phase in _AT_REST)
    if may_exchange and message.generation == book.roster.generation:
        book.quarrel.complain(entry.rank, message.peer)
        book.timers.keep("retry", now + book.quarrel.wait_seconds)
        book.publish(facts.StepAborted(Step(book.at.step + 1), book.roster.generation, message.reason))
    return None


def retry(book: Book, now: float) -> Next:
    """Nobody left since the exchange failed: once more, and if that never helps, without whoever cannot be reached."""
    culprit = book.quarrel.failed(book.roster.receivers, now)
    if culprit is None:
        return Again("an exchange failed though nobody left")
    seconds = book.quarrel.exiles[culprit] - now
    why = f"worker {culprit} lives, but others cannot exchange gradients with it"
    book.publish(facts.Warned(f"worker {culprit}", why, f"it is left out for {seconds:g} s; check its network"))
    entry = book.roster.entries[culprit]
    if entry.role is Role.ACTIVE:
        book.roster.demote(entry, book.at)
        book.send(entry.session, book.roster.order(book.at, Rest(why), None))
    else:  # what it has fetched by now, only its next Join can tell
        book.out.append(Close(entry.session))
        book.take_out(entry.session, why)
    return Again(why)
