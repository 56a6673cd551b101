"""What the work led to: a commit, an evaluation, a checkpoint."""

from __future__ import annotations

from runtime import events as facts
from runtime.cluster import explosion
from runtime.cluster.ballot import Ballot, Count, advance, committed_fact, is_search
from runtime.cluster.book import Book, Boundary, Closing, End, Next, Pause
from runtime.cluster.boundary import open_step
from runtime.cluster.drift import verified
from runtime.cluster.inquiry import MOST_SUSPICIONS
from runtime.cluster.membership import Entry
from runtime.cluster.messages import CheckpointDone, Evaluated, Finish, ShardWritten, Vote
from runtime.cluster.signals import Phase
from runtime.events import CheckpointFailed, CheckpointWritten
from runtime.ids import Rank


def voted(book: Book, entry: Entry, vote: Vote, now: float) -> Next | None:
    """A worker voted; when it was the last one missing, the step commits, unless its numbers call for an inquiry."""
    ballot = book.ballot
    if ballot is None or not ballot.cast(entry.rank, vote) or not ballot.complete:
        return None
    if (then := verified(book, ballot)) is not None:
        return then
    book.quarrel.settled()
    if not ballot.repeated:
        book.roster.measure(ballot.votes)
    count = ballot.count()
    bad = _what_is_bad(book, count)
    others = book.roster.active if book.plan.stages == 1 else ()  # a stage's shards cannot be computed elsewhere
    ask = book.inquiry.follow(ballot, bad, others)
    if ask is not None:
        book.publish(facts.StepAborted(ballot.order.step, book.roster.generation, ask.why))
        book.agree(ask.why, again=True)
        open_step(book, ask.owners, now, repeated=True, inspect=ask.inspect)
        return None
    return _commit(book, ballot, count, bad, now)


def _what_is_bad(book: Book, count: Count) -> str:
    """A clause about numbers that a broken device may have made; empty when there are none."""
    if not count.finite:
        searching = is_search(count, book.at.counters, book.plan.loss_scale)
        return "" if searching else "the gradient is not finite"
    if explosion.is_out_of_proportion(book.at.counters, count.grad_norm, book.plan.spike_zscore):
        return f"the gradient's norm of {count.grad_norm:.4g} is out of all proportion"
    return ""


def _commit(book: Book, ballot: Ballot, count: Count, bad: str, now: float) -> Next:
    before, zscore, scale = book.at.counters, book.plan.spike_zscore, book.plan.loss_scale
    book.at = advance(book.at, ballot, count, book.rate_of, book.last, zscore, scale)
    book.deliver_slices()
    book.publish(committed_fact(ballot, count, book.at, now - book.step_since))
    step, clip = book.at.step, explosion.clip_of(before, count.grad_norm, zscore)
    for found in book.inquiry.found(bad):
        book.publish(found)
    if clip.norm:
        book.publish(facts.GradientClipped(step, count.grad_norm, clip.norm, clip.zscore))
    if scale is not None and (now_is := scale.after(book.at.counters)) != scale.after(before):
        reason = f"{scale.growth_steps} steps without an overflow" if count.finite else "a gradient overflowed"
        book.publish(facts.LossScaleChanged(step, scale.after(before), now_is, reason))
    if book.plan.stop_on_nonfinite and not explosion.is_calm(book.at.counters):
        return End("failed", f"the gradient of step {step} was not finite; lower optim.lr")
    for rank in book.inquiry.convicted:
        _dismiss(book, rank)
    return Boundary()


def _dismiss(book: Book, rank: Rank) -> None:
    """A worker whose device computes wrong leaves for good, if there are enough others. One that fetches the state
    just now, because it had drifted, is not waited for."""
    entry = book.roster.entries.get(rank)
    others = [other for other in book.roster.active if other != rank]
    if entry is None or len(book.grid.leads(others)) * book.plan.stages < max(1, book.plan.fewest):
        return
    reason = f"its device computed wrong {MOST_SUSPICIONS} times; have its memory tested before it is used again"
    book.publish(facts.WorkerRetired(rank, entry.join.incarnation, reason))
    book.send(entry.session, Finish("evicted", reason))
    book.take_out(entry.session, "its device computes wrong")
    del book.inquiry.suspicions[rank]


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
    if book.phase is Phase.HELD:
        return Boundary()
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
    if book.phase is Phase.HELD and book.saves.may_begin and isinstance(fact, CheckpointWritten):
        return Boundary()  # somebody asked for one while an older state was being written
    return Closing() if closing else None
