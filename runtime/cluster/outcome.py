"""What the work led to: a commit, an evaluation, a checkpoint."""

from __future__ import annotations

from runtime.cluster.ballot import advance, committed_fact
from runtime.cluster.book import Book, Boundary, Closing, End, Next, Pause
from runtime.cluster.drift import verified
from runtime.cluster.membership import Entry
from runtime.cluster.messages import CheckpointDone, Evaluated, ShardWritten, Vote
from runtime.cluster.signals import Phase
from runtime.events import CheckpointFailed


def voted(book: Book, entry: Entry, vote: Vote, now: float) -> Next | None:
    """A worker voted; when it was the last one missing, the step commits."""
    ballot = book.ballot
    if ballot is None or not ballot.cast(entry.rank, vote) or not ballot.complete:
        return None
    if (then := verified(book, ballot)) is not None:
        return then
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


def share_written(book: Book, entry: Entry, share: ShardWritten) -> Next | None:
    """A worker's share of a checkpoint is on disk; when it was the last one missing, the checkpoint is sealed."""
    attempt = book.saves.attempt
    seal = book.saves.written(entry.rank, share)
    if seal is not None and attempt is not None:
        book.send(book.roster.entries[attempt.sealer].session, seal)
    if not book.saves.may_begin:
        return None
    if book.phase is Phase.PAUSED and book.roster.active:
        return Pause("a share of the state was never saved")
    return Closing() if book.phase is Phase.CLOSING else None


def saved(book: Book, done: CheckpointDone) -> Next | None:
    """A checkpoint is finished, well or not."""
    closing = book.phase is Phase.CLOSING
    the_last = closing and book.saves.writing == done.step == book.at.step
    fact = book.saves.done(done)
    if fact is not None:
        book.publish(fact)
    if the_last and isinstance(fact, CheckpointFailed):
        return End("failed", f"the last checkpoint could not be written: {fact.reason}")
    return Closing() if closing else None
