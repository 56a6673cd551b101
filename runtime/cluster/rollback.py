"""Back to the last good state, past the samples that were consumed since: the last rung of the ladder but one.

What says that it is due is in the counters of the position, so a successor of a coordinator that died in between does
the same.
"""

from __future__ import annotations

from runtime import events as facts
from runtime.cluster import explosion
from runtime.cluster.book import Book, End, Next, Pause
from runtime.cluster.gathering import restore_everybody
from runtime.cluster.signals import ROLLED_BACK, Phase, Position

WAIT_SECONDS = 0.25
"""How often it is asked whether the checkpoint that is being written is complete."""


def go_back(book: Book, now: float) -> Next | None:
    """Order everybody back, unless the run went back too often already."""
    trouble = explosion.trouble(book.at.counters, book.plan.max_skipped_in_a_row)
    if not trouble or book.phase is not Phase.STEPPING or book.ballot is not None:
        return None
    if book.saves.writing is not None:  # it was begun when all was well: the newest good state there is
        book.timers.keep("roll back", now + WAIT_SECONDS)
        return None
    if explosion.hopeless(book.at.counters):
        times = f"{explosion.MOST_ROLLBACKS} times"
        return End(
            "gave_up",
            f"step {book.at.step}: {trouble}, and going back {times} did not help; lower optim.lr, "
            "or look at the samples that were passed over",
        )
    _retreat(book, trouble)
    if not book.roster.entries:
        return Pause("every worker left before it could go back")
    restore_everybody(book)
    return None


def _retreat(book: Book, trouble: str) -> None:
    """Change the position, the restore point and the members; say what was done."""
    before, point = book.at, book.saves.newest
    retreat = explosion.retreat(before.counters, before.step, before.cursor, point.counters, point.step, point.cursor)
    retreat.counters[ROLLED_BACK] = book.roster.generation
    book.at = Position(point.step, before.cursor, retreat.counters)
    book.saves.forget_after(point.step)
    book.saves.move_newest(before.cursor, retreat.counters)
    book.restart_newcomers("the run goes back")
    book.verified_at = point.step
    book.roster.members = ()  # whoever comes together next is a new generation
    book.publish(
        facts.RolledBack(
            before.step, point.step, trouble, before.cursor, point.cursor, retreat.passed_over,
            retreat.rate_factor, retreat.rate_updates,
        )
    )  # fmt: skip
    scale = book.plan.loss_scale
    if scale is not None and (now_is := scale.after(retreat.counters)) != scale.after(before.counters):
        reason = f"the run went back to step {point.step}"
        book.publish(facts.LossScaleChanged(before.step, scale.after(before.counters), now_is, reason))


def due(book: Book, now: float) -> bool:
    """Whether the run must go back from this boundary.

    That is left to a feed of its own, so that the commit before it reaches the journal with its own position.
    """
    if not explosion.trouble(book.at.counters, book.plan.max_skipped_in_a_row):
        return False
    book.phase = Phase.STEPPING
    book.timers.keep("roll back", now + 0.001)
    return True
