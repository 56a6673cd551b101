"""A coordinator of a grid, data x pipeline: every stage votes, a lost one is waited for, and nobody goes on without."""

from __future__ import annotations

import math
from dataclasses import replace

from runtime import events as facts
from runtime.cluster.messages import Evaluated, EvaluateWork, Heal, Holding, Order, Rest, Restore, StepWork
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Phase
from runtime.flow import StepOrder
from runtime.ids import Rank
from tests.unit.cluster.world import World, join_of, vote_on

PLAN = RunPlan(workers=4, global_batch_size=8, logical_shards=4, steps=4, epochs=1.0, stages=2)
FOUR = (0, 1, 2, 3)


def world(**more: object) -> World:
    return World(replace(PLAN, **more)).start(*FOUR)  # type: ignore[arg-type]  # fields of a plan


def alone(**more: object) -> World:
    """One pipeline of two stages: nobody has a twin."""
    return World(replace(PLAN, workers=2, **more)).start(0, 1)  # type: ignore[arg-type]  # fields of a plan


def told(at: World, rank: int) -> StepOrder:
    work = at.last(rank, Order).work
    assert isinstance(work, StepWork)
    return work.order


def vote(at: World, *ranks: int, **more: object) -> None:
    """First stages know no loss, and each stage has the squares of its own part."""
    for rank in ranks or FOUR:
        cast = vote_on(told(at, rank), rank, grad_square_sum=9.0 if rank % 2 else 16.0)
        if rank % 2 == 0:
            cast = replace(cast, tallies=tuple(replace(tally, loss_sum=0.0, tokens=0) for tally in cast.tallies))
        at.say(rank, replace(cast, **more))  # type: ignore[arg-type]  # fields of a vote


def come_back(at: World, rank: int) -> None:
    at.join(rank, incarnation=2)


def test_each_rank_is_told_what_its_twins_share() -> None:
    at = world()
    assert [told(at, rank).owners for rank in FOUR] == [(0, 0, 2, 2), (1, 1, 3, 3), (0, 0, 2, 2), (1, 1, 3, 3)]
    assert [told(at, rank).receivers for rank in FOUR] == [(0, 2), (1, 3), (0, 2), (1, 3)]


def test_a_step_commits_when_every_stage_has_voted_with_the_last_stages_loss_and_the_norm_of_all() -> None:
    at = world()
    vote(at, 0, 1, 2)
    assert at.facts(facts.StepCommitted) == []
    vote(at, 3)
    (committed,) = at.facts(facts.StepCommitted)
    assert (committed.loss, committed.tokens) == (1.0, 8)
    assert committed.grad_norm == math.sqrt(16.0 + 9.0) / 8
    assert (committed.useful_tokens, committed.owners) == (4, (0, 0, 2, 2))


def test_a_gradient_that_is_not_finite_in_one_stage_skips_the_step_everywhere_without_an_inquiry() -> None:
    at = world()
    vote(at, 0, 1, 2)
    vote(at, 3, finite=False)
    (committed,) = at.facts(facts.StepCommitted)
    assert not committed.applied
    assert at.facts(facts.StepAborted) == []


def test_a_lost_stage_is_healed_from_its_twin_while_all_wait_and_then_the_step_is_done_again() -> None:
    at = world()
    vote(at)
    vote(at, 0, 1)
    at.leave(1)
    assert at.is_in(Phase.PAUSED)
    assert isinstance(at.last(3, Order).work, Rest)
    come_back(at, 1)
    heal = at.last(1, Heal)
    assert [source.rank for source in heal.sources] == [3]
    assert at.last(3, Order).hold == (1,)
    at.say(1, Holding(heal.step, 0.1, 10, (Rank(3),)))
    assert [told(at, rank).step for rank in FOUR] == [2] * 4
    vote(at)
    assert [fact.step for fact in at.facts(facts.StepCommitted)] == [1, 2]
    assert at.facts(facts.RolledBack) == []


def test_a_stage_that_nobody_else_holds_takes_everybody_back_to_the_newest_checkpoint() -> None:
    at = alone(checkpoint_every=1)
    vote(at, 0, 1)
    at.shared(0)
    at.shared(1)
    at.saved(0)
    vote(at, 0, 1)
    at.leave(1)
    assert at.is_in(Phase.GATHERING)
    come_back(at, 1)
    assert [at.last(rank, Restore).step for rank in (0, 1)] == [1, 1]
    (back,) = at.facts(facts.RolledBack)
    assert (back.from_step, back.to_step) == (2, 1)
    at.restore()
    assert told(at, 1).step == 2


def test_while_restoring_another_death_begins_it_anew() -> None:
    at = alone()
    vote(at, 0, 1)
    at.leave(0)
    come_back(at, 0)
    at.say(0, Holding(at.last(0, Restore).step, 0.1, 10))
    at.leave(1)
    assert at.is_in(Phase.GATHERING)
    at.join(1, incarnation=3)
    at.restore()
    assert told(at, 0).step == told(at, 1).step == 1


def test_a_successor_of_the_coordinator_waits_for_all_stages() -> None:
    at = World(PLAN, generation=4)
    for rank in (0, 1, 2):
        at.join(rank)
    at.sleep(60.0)
    assert at.is_in(Phase.GATHERING)
    at.join(3)
    assert at.is_in(Phase.RESTORING)


def test_nothing_is_saved_while_a_stage_is_missing() -> None:
    at = alone(checkpoint_every=1)
    vote(at, 0, 1)
    at.shared(0)
    at.leave(1)
    assert at.last(0, Order).save is None
    come_back(at, 1)
    at.restore()
    vote(at, 0, 1)
    save = at.last(1, Order).save
    assert save is not None
    assert save.writers == (0, 1)


def test_with_a_twin_the_state_is_saved_while_the_lost_stage_is_waited_for() -> None:
    at = world()
    vote(at)
    at.leave(2)
    save = at.last(0, Order).save
    assert save is not None
    assert save.writers == (0, 1, 3)


def test_a_death_at_the_very_end_is_waited_for_as_well() -> None:
    at = alone(steps=1)
    vote(at, 0, 1)
    assert at.is_in(Phase.CLOSING)
    at.leave(0)
    assert at.is_in(Phase.GATHERING)
    come_back(at, 0)
    at.restore()
    vote(at, 0, 1)
    assert at.is_in(Phase.CLOSING)
    at.shared(0)
    at.shared(1)
    at.saved(0)
    assert at.ended is not None
    assert at.ended.outcome == "done"


def test_a_wish_to_stop_ends_a_run_that_waits_for_a_stage_that_nobody_holds() -> None:
    at = alone()
    vote(at, 0, 1)
    at.leave(1)
    at.stop()
    assert at.ended is not None
    assert at.ended.outcome == "stopped"


def test_an_evaluation_is_shared_over_groups_and_every_stage_reports() -> None:
    at = World(replace(PLAN, evaluate=True))
    for rank in FOUR:
        at.join(rank)
    at.restore()
    works = [at.last(rank, Order).work for rank in FOUR]
    assert [work.workers for work in works if isinstance(work, EvaluateWork)] == [(0, 2), (1, 3), (0, 2), (1, 3)]
    for rank in FOUR:
        order, last = at.last(rank, Order), rank % 2
        at.say(rank, Evaluated(order.generation, order.state, 6.0 * last, 4 * last, last, ()))
    (found,) = at.facts(facts.EvaluationFinished)
    assert (found.loss, found.tokens, found.token_accuracy) == (1.5, 8, 0.25)


def test_only_twins_are_compared() -> None:
    at = world(verify_every=1)
    for rank in FOUR:
        vote(at, rank, parameter_hash=f"stage {rank % 2}")
    assert len(at.facts(facts.StepCommitted)) == 1
    for rank in FOUR:
        vote(at, rank, parameter_hash="flipped" if rank == 2 else f"stage {rank % 2}")
    assert {fact.rank for fact in at.facts(facts.ReplicaDrifted)} == {0, 2}
    assert len(at.facts(facts.RolledBack)) == 1


def test_where_a_stage_is_reached_travels_with_the_members() -> None:
    at = World(PLAN)
    for rank in FOUR:
        at.join(rank, stage_address=f"stage-{rank}")
    at.restore()
    assert [member.stage_address for member in at.last(2, Order).members] == [f"stage-{rank}" for rank in FOUR]
    assert join_of(0).stage_address == ""
