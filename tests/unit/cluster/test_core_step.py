"""The core between two commits: votes, deaths, newcomers, evaluations, failed exchanges, skipped steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime import events as facts
from runtime.cluster.messages import Evaluated, EvaluateWork, ExchangeFailed, Heal, Holding, Order, Rest, StepWork
from runtime.cluster.signals import GENERATION, Phase
from runtime.ids import Rank, Step
from tests.unit.cluster.world import PLAN, World, vote_on

THREE = replace(PLAN, workers=3, steps=5)
EVALUATES = replace(PLAN, evaluate=True, evaluate_every=2, steps=4)


def test_a_step_commits_when_every_owner_voted_and_the_verdict_travels_with_the_next_order() -> None:
    world = World().start()
    world.vote(0)
    assert world.facts(facts.StepCommitted) == []
    world.vote(1)
    (fact,) = world.facts(facts.StepCommitted)
    assert (fact.step, fact.cursor, fact.samples, fact.loss, fact.owners) == (1, 0, 8, 1.0, (0, 0, 1, 1))
    order = world.last(1, Order)
    assert order.verdict is not None
    assert (order.state, order.verdict.committed.step, order.verdict.update) == (1, 1, 1)
    assert (world.order.step, world.order.cursor) == (2, 8)


def test_an_order_foretells_the_rate_and_the_number_that_its_verdict_says() -> None:
    world = World().start()
    for update in (1, 2):
        work = world.last(1, Order).work
        assert isinstance(work, StepWork)
        world.vote()
        verdict = world.last(1, Order).verdict
        assert verdict is not None
        assert (
            (work.learning_rate, work.update)
            == (verdict.learning_rate, update)
            == (verdict.learning_rate, verdict.update)
        )


def test_the_fact_of_a_commit_comes_before_anybody_is_told() -> None:
    world = World().start()
    world.vote()
    kinds = [type(action).__name__ for action in world.actions]
    assert kinds.index("Publish") < kinds.index("Send")


def test_votes_of_an_older_generation_are_ignored() -> None:
    world = World(THREE).start(0, 1, 2)
    old = world.order
    world.leave(2)
    for rank in (0, 1):
        world.say(rank, vote_on(old, rank))
    assert world.facts(facts.StepCommitted) == []


@pytest.mark.parametrize("wrong", [{"step": Step(7)}, {"tallies": ()}])
def test_a_vote_on_something_else_does_not_count(wrong: dict[str, object]) -> None:
    world = World().start()
    world.vote(0)
    world.vote(1, **wrong)
    assert world.facts(facts.StepCommitted) == []


def test_a_vote_counts_once() -> None:
    world = World().start()
    world.vote(0)
    world.vote(0)
    assert world.facts(facts.StepCommitted) == []


def test_a_vote_outside_of_a_step_is_ignored() -> None:
    world = World(EVALUATES).start()
    world.say(0, vote_on(world.core.roster.step_order(world.core.at, 8, ()), 0))
    assert world.actions == []


def test_survivors_keep_their_shards_and_take_over_the_dead_workers() -> None:
    world = World(THREE).start(0, 1, 2)
    before = world.order
    world.leave(1)
    after = world.order
    assert (after.step, after.generation) == (before.step, before.generation + 1)
    assert all(new == old for new, old in zip(after.owners, before.owners, strict=True) if old != 1)
    assert 1 not in after.owners
    assert len(world.facts(facts.StepAborted)) == 1
    world.vote()
    assert [fact.step for fact in world.facts(facts.StepCommitted)] == [1]


def test_a_newcomer_heals_while_others_step_and_owns_shards_once_it_holds_the_state() -> None:
    world = World().start()
    world.leave(1)
    world.join(1, incarnation=2)
    world.vote()
    heal = world.last(1, Heal)
    assert (heal.step, [member.rank for member in heal.sources]) == (1, [0])
    assert world.last(0, Order).hold == (1,)
    assert (world.order.contributors, world.order.receivers) == ((0,), (0, 1))
    world.say(1, Holding(Step(1), 0.5, 100, (Rank(0),)))
    world.say(1, Holding(Step(2), 0.5, 100, (Rank(0),)))  # said again with the next order, which crossed the first one
    assert [fact.rank for fact in world.facts(facts.StateHealed)] == [1]
    world.vote()
    assert world.order.contributors == (0, 1)
    assert world.last(0, Order).hold == ()


def test_a_newcomer_that_is_still_far_behind_owns_nothing_yet() -> None:
    world = World(replace(PLAN, steps=9)).start()
    world.leave(1)
    world.join(1, incarnation=2)
    for _ in range(3):
        world.vote()
    world.say(1, Holding(Step(1), 0.5, 100, ()))
    world.vote()
    assert world.order.contributors == (0,)


def test_a_worker_that_comes_back_a_step_too_late_heals() -> None:
    world = World().start()
    world.vote()
    world.leave(1)
    world.join(1, holds=1, counters=world.core.at.counters)
    world.vote()
    assert world.core.at.counters[GENERATION] == 2
    assert [type(message) for message in world.told[world.sessions[1]]] == [Heal, Order]


def test_a_worker_that_comes_back_with_the_committed_state_saves_the_run_when_the_others_die() -> None:
    world = World().start()
    world.vote()
    world.leave(1)
    world.join(1, holds=1, counters=world.core.at.counters)
    world.leave(0)
    assert world.is_in(Phase.GATHERING)
    world.sleep(PLAN.gather_seconds)
    assert world.order.contributors == (1,)
    assert world.facts(facts.RolledBack) == []


def test_a_waiting_worker_that_holds_the_state_is_active_after_a_death() -> None:
    world = World(THREE).start(0, 1, 2)
    world.vote()
    world.leave(2)
    world.join(2, holds=1, counters=world.core.at.counters)
    world.leave(1)
    assert world.order.receivers == (0, 2)
    assert world.core.roster.active == (0, 2)


def test_the_death_of_a_waiting_worker_disturbs_nobody() -> None:
    world = World().start()
    world.join(2)
    world.leave(2)
    assert [type(action).__name__ for action in world.actions] == ["Publish"]


def test_a_session_that_was_never_let_in_leaves_without_a_word() -> None:
    world = World().start()
    world.join(0, incarnation=0)
    world.leave(0)
    assert world.actions == []


def test_a_failed_exchange_between_living_workers_is_ordered_again_after_a_pause() -> None:
    world = World().start()
    before = world.order
    world.say(0, ExchangeFailed(before.generation, before.step, 1, "reset"))
    world.say(1, ExchangeFailed(before.generation, before.step, 0, "reset"))
    assert world.order == before
    world.sleep(1.0)
    assert (world.order.step, world.order.generation) == (before.step, before.generation + 1)
    assert world.order.owners == before.owners


def test_a_failed_exchange_of_an_older_generation_is_no_news() -> None:
    world = World(THREE).start(0, 1, 2)
    old = world.order
    world.leave(2)
    world.say(0, ExchangeFailed(old.generation, old.step, 2, "reset"))
    assert world.wake is None


def test_a_death_after_a_failed_exchange_answers_it() -> None:
    world = World(THREE).start(0, 1, 2)
    world.say(0, ExchangeFailed(world.order.generation, world.order.step, 2, "reset"))
    world.leave(2)
    generation = world.order.generation
    world.sleep(1.0)
    assert world.order.generation == generation


def test_an_evaluation_is_ordered_before_the_first_step_and_on_its_cadence() -> None:
    world = World(EVALUATES).start()
    assert isinstance(world.last(0, Order).work, EvaluateWork)
    world.evaluate()
    (found,) = world.facts(facts.EvaluationFinished)
    assert (found.step, found.loss, found.tokens, found.token_accuracy) == (0, 1.5, 8, 0.25)
    world.vote()
    world.vote()
    assert world.is_in(Phase.EVALUATING)


def test_an_evaluation_is_ordered_again_for_the_survivors_of_a_death() -> None:
    world = World(EVALUATES).start()
    world.evaluate([0])
    world.leave(1)
    work = world.last(0, Order).work
    assert isinstance(work, EvaluateWork)
    assert work.workers == (0,)
    world.evaluate([0])
    assert [fact.tokens for fact in world.facts(facts.EvaluationFinished)] == [4]


def test_a_share_of_an_older_evaluation_is_ignored() -> None:
    world = World(replace(EVALUATES, workers=3)).start(0, 1, 2)
    world.evaluate([0, 1])
    old = world.last(2, Order)
    world.leave(1)
    world.evaluate([0])
    assert world.is_in(Phase.EVALUATING)
    assert old.generation < world.last(2, Order).generation


def test_shares_outside_of_an_evaluation_are_ignored() -> None:
    world = World(EVALUATES).start()
    world.evaluate()
    world.say(0, Evaluated(world.order.generation, Step(0), 1.0, 1, 1, ()))
    assert world.actions == []


def test_with_fewer_than_min_workers_the_run_saves_rests_and_goes_on_with_the_next_one() -> None:
    world = World(replace(PLAN, min_workers=2)).start()
    world.vote()
    world.leave(1)
    order = world.last(0, Order)
    assert isinstance(order.work, Rest)
    assert world.saves(0)
    world.join(1, incarnation=2)
    assert world.last(1, Heal).step == 1
    world.say(1, Holding(Step(1), 0.5, 100))
    assert (world.order.step, world.order.contributors) == (2, (0, 1))
    world.sleep(PLAN.wait_seconds + 1)
    assert world.ended is None


def test_a_paused_run_goes_on_at_once_with_a_worker_that_still_holds_the_state() -> None:
    world = World(replace(PLAN, min_workers=2)).start()
    world.vote()
    world.leave(1)
    world.join(1, holds=1, counters=world.core.at.counters)
    assert (world.order.step, world.order.contributors) == (2, (0, 1))


def test_a_run_below_min_workers_gives_up_after_its_wait() -> None:
    world = World(replace(PLAN, min_workers=2, wait_seconds=60)).start()
    world.leave(1)
    world.sleep(59)
    assert world.ended is None
    world.sleep(1)
    assert world.ended is not None
    assert (world.ended.outcome, world.ended.reason) == ("gave_up", "no worker came back within 60 s")


def test_the_wait_goes_on_while_only_a_worker_without_state_gathers() -> None:
    world = World(replace(PLAN, wait_seconds=60)).start()
    world.leave(0)
    world.leave(1)
    world.sleep(30)
    world.join(0, incarnation=2)
    world.leave(0)
    world.sleep(30)
    assert world.ended is not None
    assert world.ended.outcome == "gave_up"


def orphaned() -> World:
    """Worker 1 is catching up when worker 0, the only holder, dies at step 2."""
    world = World().start()
    world.vote()
    world.leave(1)
    world.join(1, incarnation=2)
    world.vote()
    world.leave(0)
    return world


def test_who_was_catching_up_when_the_last_holder_died_must_join_anew() -> None:
    world = orphaned()
    assert world.closed == [world.sessions[1]]
    assert world.is_in(Phase.PAUSED)
    world.leave(1)
    world.join(1, incarnation=2)
    world.sleep(PLAN.gather_seconds)
    assert [(fact.from_step, fact.to_step) for fact in world.facts(facts.RolledBack)] == [(2, 0)]
    assert world.core.at.cursor == 0


def test_a_newcomer_that_finished_healing_when_the_last_holder_died_saves_the_state() -> None:
    world = orphaned()
    world.join(1, incarnation=2, holds=2, cursor=16, counters=world.core.at.counters)
    world.sleep(PLAN.gather_seconds)
    assert world.facts(facts.RolledBack) == []
    assert (world.order.step, world.order.cursor) == (3, 16)


def test_news_of_a_state_from_a_worker_that_was_given_none_changes_nothing() -> None:
    world = World().start()
    world.join(2)
    world.say(2, Holding(Step(0), 0.5, 10))
    assert world.actions == []
