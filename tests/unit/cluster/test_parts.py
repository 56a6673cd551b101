"""The pure parts around the core: placement, plan, timers, checkpoints' book, evaluation, ballot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cluster.ballot import Ballot
from runtime.cluster.evaluation import Evaluation
from runtime.cluster.membership import Membership
from runtime.cluster.messages import Answer, Evaluated
from runtime.cluster.placement import deal, take_over
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Position
from runtime.cluster.timers import Timers
from runtime.events import EvaluationFinished, SampleGenerated
from runtime.flow import StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from tests.unit.cluster.world import PLAN, join_of, vote_on

ranks = st.lists(st.integers(0, 20).map(Rank), min_size=1, max_size=8, unique=True)


@given(ranks, st.integers(1, 64), st.data())
def test_shards_are_dealt_in_contiguous_runs_to_everybody_by_speed(
    members: list[Rank], shards: int, data: st.DataObject
) -> None:
    speeds = data.draw(st.dictionaries(st.sampled_from(members), st.floats(0.0, 100.0)))
    owners = deal(members, shards, speeds)
    assert len(owners) == shards
    assert list(owners) == sorted(owners)
    assert set(owners) <= set(members)
    if shards >= len(members):
        assert set(owners) == set(members)


def test_equal_workers_get_equal_runs_and_a_fast_one_gets_more() -> None:
    assert deal([Rank(1), Rank(0)], 4) == (0, 0, 1, 1)
    assert deal([Rank(0), Rank(1), Rank(2)], 4) == (0, 0, 1, 2)
    assert deal([Rank(0), Rank(1)], 8, {Rank(0): 3.0, Rank(1): 1.0}) == (0, 0, 0, 0, 0, 0, 1, 1)
    assert deal([Rank(0), Rank(1)], 4, {Rank(0): 1e6, Rank(1): 1.0}) == (0, 0, 0, 1)
    assert deal([Rank(0), Rank(1), Rank(2)], 2) == (0, 1)


@given(ranks, st.integers(1, 32), st.data())
def test_survivors_keep_every_shard_they_own(members: list[Rank], shards: int, data: st.DataObject) -> None:
    owners = deal(members, shards)
    survivors: Sequence[Rank] = data.draw(st.lists(st.sampled_from(members), min_size=1, unique=True))
    after = take_over(owners, survivors)
    assert set(after) <= set(survivors)
    assert all(new == old for old, new in zip(owners, after, strict=True) if old in survivors)


def test_orphans_go_to_whoever_owns_fewest() -> None:
    assert take_over([Rank(0), Rank(1), Rank(2), Rank(2)], [Rank(0), Rank(1)]) == (0, 1, 0, 1)


def test_a_plan_in_epochs_ends_with_a_smaller_batch() -> None:
    plan = RunPlan(1, 8, 16, 0, 1.5)
    assert plan.shards == 8
    assert plan.total_samples(10) == 15
    assert plan.last_step(10) == 2
    assert (plan.batch_at(Cursor(0), 10), plan.batch_at(Cursor(8), 10)) == (8, 7)


def test_a_plan_in_steps_has_full_batches() -> None:
    assert PLAN.total_samples(10) is None
    assert (PLAN.last_step(10), PLAN.batch_at(Cursor(16), 10)) == (3, 8)


@pytest.mark.parametrize(
    ("plan", "due"),
    [
        (PLAN, []),
        (replace(PLAN, evaluate=True), [0, 9]),
        (replace(PLAN, evaluate=True, evaluate_every=4), [0, 4, 8, 9]),
    ],
)
def test_evaluations_are_due_at_both_ends_and_on_their_cadence(plan: RunPlan, due: list[int]) -> None:
    assert [step for step in range(10) if plan.evaluation_due(Step(step), Step(9))] == due


def test_answers_are_due_at_both_ends_and_on_their_cadence() -> None:
    plan = replace(PLAN, answers=5, answers_every=4)
    assert [step for step in range(10) if plan.answers_due(Step(step), Step(9))] == [0, 4, 8, 9]
    assert [step for step in range(10) if replace(plan, answers_every=0).answers_due(Step(step), Step(9))] == [0, 9]


def test_checkpoints_are_due_by_step_or_by_time() -> None:
    by_step = replace(PLAN, checkpoint_every=3)
    assert [step for step in range(8) if by_step.checkpoint_due(Step(step), 0)] == [3, 6]
    by_time = replace(PLAN, checkpoint_every_seconds=5.0)
    assert [by_time.checkpoint_due(Step(1), seconds) for seconds in (4.0, 5.0)] == [False, True]
    assert not PLAN.checkpoint_due(Step(1), 1e9)


def test_a_timer_rings_once_at_its_first_time() -> None:
    timers = Timers()
    assert timers.next is None
    timers.keep("a", 2.0)
    timers.keep("a", 1.0)
    timers.keep("b", 3.0)
    assert timers.next == 2.0
    assert timers.due(1.9) is None
    assert (timers.due(5.0), timers.due(5.0), timers.due(5.0)) == ("a", "b", None)


def test_timers_can_be_cancelled_and_replaced() -> None:
    timers = Timers()
    timers.keep("a", 1.0)
    timers.only("b", 2.0)
    assert timers.next == 2.0
    timers.cancel("b")
    timers.cancel("b")
    assert timers.next is None


def test_an_evaluation_merges_sums_and_sorts_answers() -> None:
    evaluation = Evaluation((Rank(0), Rank(1)), since=1.0)
    one, two = Answer(1, "b", "", "B"), Answer(0, "a", "", "A")
    assert not evaluation.add(Rank(0), Evaluated(Generation(2), Step(4), 3.0, 2, 1, (one,)), Generation(2))
    assert not evaluation.add(Rank(7), Evaluated(Generation(2), Step(4), 9.0, 9, 9, ()), Generation(2))
    assert evaluation.add(Rank(1), Evaluated(Generation(2), Step(4), 1.0, 2, 1, (two,)), Generation(2))
    assert (evaluation.loss, evaluation.accuracy, evaluation.answers) == (1.0, 0.5, (two, one))
    finished, *samples = evaluation.facts(Step(4), 3.0)
    assert samples == [SampleGenerated(Step(4), "a", "", "A"), SampleGenerated(Step(4), "b", "", "B")]
    assert finished.seconds == 2.0  # type: ignore[union-attr]  # the first fact is EvaluationFinished


def test_perplexity_is_that_of_all_tokens_and_scores_are_of_all_sums() -> None:
    def scores_of(shares: Iterable[Mapping[str, tuple[float, ...]]]) -> Mapping[str, float]:
        right, answers = map(sum, zip(*(share["exact_match"] for share in shares), strict=True))
        return {"exact_match": right / answers}

    evaluation = Evaluation((Rank(0), Rank(1)), 0.0, scores_of)
    head = Generation(1), Step(8)
    small = Evaluated(*head, 2 * math.log(2), 2, 1, (), {"exact_match": (1.0, 1.0)})
    large = Evaluated(*head, 30 * math.log(4), 30, 15, (), {"exact_match": (0.0, 3.0)})
    assert not evaluation.add(Rank(0), small, Generation(1))
    assert evaluation.add(Rank(1), large, Generation(1))
    assert evaluation.perplexity == pytest.approx(2 ** (62 / 32))  # and not 3.0, the mean of 2 and 4
    assert evaluation.metrics == {
        "eval/loss": evaluation.loss, "eval/token_accuracy": 0.5, "eval/perplexity": evaluation.perplexity,
        "eval/exact_match": 0.25,
    }  # fmt: skip
    (finished,) = evaluation.facts(Step(8), 1.0)
    assert isinstance(finished, EvaluationFinished)
    assert dict(finished.metrics) == {"perplexity": evaluation.perplexity, "exact_match": 0.25}


def test_a_loss_beyond_reason_is_a_perplexity_all_the_same() -> None:
    evaluation = Evaluation((Rank(0),), 0.0)
    evaluation.add(Rank(0), Evaluated(Generation(1), Step(8), 1e6, 1, 0, ()), Generation(1))
    assert math.isfinite(evaluation.perplexity)
    assert evaluation.metrics["eval/loss"] == 1e6


def test_a_batch_without_trained_tokens_has_no_norm() -> None:
    order = StepOrder(Generation(1), Step(1), Cursor(0), 8, (Rank(0),), (Rank(0),))
    ballot = Ballot(order)
    vote = vote_on(order, 0)
    empty = replace(vote, tallies=(replace(vote.tallies[0], tokens=0, loss_sum=0.0),), grad_square_sum=0.0)
    assert ballot.cast(Rank(0), empty)
    assert (ballot.complete, ballot.count().grad_norm) == (True, 0.0)


def test_a_membership_knows_who_speaks_through_which_session() -> None:
    roster = Membership(Generation(0))
    entry = roster.enter(7, join_of(3))
    assert roster.of_session(7) is entry
    assert roster.of_session(8) is None
    assert roster.leave(8) is None
    assert roster.leave(7) is entry
    assert roster.admit(Position(Step(0), Cursor(0))) == []
