"""Rollbacks that pass over samples: what was deliberately not trained on is said once, and everything else still adds
up."""

from __future__ import annotations

from dataclasses import replace

from runtime.events import Event, RolledBack, StepCommitted
from runtime.ids import Cursor, Step
from tests.unit.events.ledger_histories import BATCH, audit, commit, commits, finished, generation, started


def passed_over(old: int, new: int, consumed: int, since: int) -> RolledBack:
    """From step `old` back to `new`, past the steps' worth of samples from `since` to `consumed`."""
    return RolledBack(
        Step(old), Step(new), "the gradient was not finite 5 times in a row",
        Cursor(consumed * BATCH), Cursor(since * BATCH), (consumed - since) * BATCH, 0.5, 200,
    )  # fmt: skip


def shifted(first: int, last: int, by: int, number: int = 2) -> list[Event]:
    """Steps whose samples are those of `by` steps later."""
    found: list[Event] = []
    for step in range(first, last + 1):
        like = commit(step + by, number)
        assert isinstance(like, StepCommitted)
        found.append(replace(like, step=Step(step)))
    return found


BACK = passed_over(5, 2, 5, 2)
RUN = [started(), generation(), *commits(1, 5), BACK, generation(2, 3)]


def test_what_a_rollback_passed_over_is_consumed_and_not_trained_on() -> None:
    found = audit(RUN, shifted(3, 6, 3), finished(6))
    assert found.violations == ()
    assert found.proven
    assert (found.steps, found.samples, found.committed, found.repeated) == (6, 6 * BATCH, 9, 3)
    assert (found.faults["samples passed over"], found.faults["steps lost in rollbacks"]) == (3 * BATCH, 3)
    assert "samples 8 to 19 of the run were passed over: consumed, and not trained on" in found.notes


def test_samples_that_are_passed_over_and_then_trained_on_all_the_same_are_a_violation() -> None:
    found = audit(RUN, commits(3, 6, 2), finished(6))
    assert "step 3 begins at sample 8, but the steps before it ended at 20" in found.violations


def test_passing_over_samples_that_no_step_had_is_a_violation() -> None:
    found = audit(started(), generation(), commits(1, 5), passed_over(5, 2, 6, 2), generation(2, 3), shifted(3, 3, 4))
    assert "the samples 8 to 23 that were passed over are not those of the steps before" in found.violations


def test_a_later_loss_of_the_state_keeps_what_was_passed_over() -> None:
    lost = RolledBack(Step(4), Step(2), "no living worker holds the newer state", Cursor(5 * BATCH))
    found = audit(RUN, shifted(3, 4, 3), lost, generation(3, 3), shifted(3, 6, 3, 3), finished(6))
    assert found.violations == ()
    assert (found.steps, found.faults["samples passed over"]) == (6, 3 * BATCH)


def test_a_resumption_from_before_the_rollback_trains_on_those_samples_again() -> None:
    found = audit(RUN, shifted(3, 3, 3), started(3, run_id="b"), generation(1, 3), commits(3, 6), finished(6))
    assert found.violations == ()
    assert (found.steps, found.samples) == (6, 6 * BATCH)


def test_a_second_rollback_passes_over_more() -> None:
    again = passed_over(4, 2, 7, 5)
    found = audit(RUN, shifted(3, 4, 3), again, generation(3, 3), shifted(3, 4, 5, 3), finished(4))
    assert found.violations == ()
    assert (found.steps, found.faults["samples passed over"]) == (4, 5 * BATCH)


def test_a_run_that_ends_on_the_way_back_ends_at_the_state_that_it_went_back_to() -> None:
    found = audit(RUN, finished(2))
    assert found.violations == ()
    assert (found.steps, found.last_step) == (2, 2)
