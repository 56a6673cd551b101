"""What the work led to: a commit, an evaluation, a checkpoint."""

from __future__ import annotations

from runtime.cluster.ballot import advance, committed_fact
from runtime.cluster.book import Book, Boundary, Closing, End, Next
from runtime.cluster.membership import Entry
from runtime.cluster.messages import CheckpointDone, Evaluated, Vote
from runtime.cluster.saves import outcome_of
from runtime.cluster.signals import Phase


def voted(book: Book, entry: Entry, vote: Vote, now: float) -> Next | None:
    """A worker voted; when it was the last one missing, the step commits."""
    ballot = book.ballot
    if ballot is None or not ballot.cast(entry.rank, vote) or not ballot.complete:
        return None
    if not ballot.repeated:
        book.roster.measure(ballot.votes)
    count = ballot.count()
    book.at = advance(book.at, ballot, count, book.rate_of, book.last)
    book.publish(committed_fact(ballot, count, book.at, now - book.step_since))
    if failure := book.skips.judge(book.at.verdict):
        return End("failed", failure)
    return Boundary()


def evaluated(book: Book, entry: Entry, share: Evaluated, now: float) -> Next | None:
    """A worker delivered its share; when it was the last one missing, the state is evaluated."""
    evaluation = book.evaluation
    if evaluation is None or not evaluation.add(entry.rank, share, book.roster.generation):
        return None
    for fact in evaluation.facts(book.at.step, now):
        book.publish(fact)
    book.evaluated_at, book.metrics = book.at.step, evaluation.metrics
    return Boundary()


def saved(book: Book, done: CheckpointDone) -> Next | None:
    """A writer finished, well or not."""
    book.publish(outcome_of(done))
    book.saves.done(done.step, done.path if not done.error else "")
    if book.phase is not Phase.CLOSING:
        return None
    if done.error and done.step == book.at.step:
        return End("failed", f"the last checkpoint could not be written: {done.error}")
    return Closing()
