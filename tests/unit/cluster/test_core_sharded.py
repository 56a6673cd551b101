"""A coordinator whose workers hold slices of the optimizer's state: dealt, moved, written, lost."""

from __future__ import annotations

from dataclasses import replace

from runtime import events as facts
from runtime.cluster.messages import EvaluateWork, ExchangeFailed, Heal, Holding, Order, Rest, Restore, StepWork
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import GENERATION, Phase
from runtime.cluster.slices import held_by
from runtime.ids import Rank, Step
from tests.unit.cluster.world import World

PLAN = RunPlan(workers=3, global_batch_size=8, logical_shards=4, steps=6, epochs=1.0, slices=6, replicas=2)
THREE = (0, 1, 2)


def world(**more: object) -> World:
    return World(replace(PLAN, **more)).start(*THREE)  # type: ignore[arg-type]  # fields of a plan


def order_to(at: World, rank: int) -> Order:
    return at.last(rank, Order)


def test_everybody_restores_its_slices_and_the_first_order_says_who_holds_what() -> None:
    at = world()
    order = order_to(at, 0)
    assert order.holders == order.keepers
    assert all(len(have) == 2 for have in order.holders)
    for rank in THREE:
        assert at.last(rank, Restore).slices == held_by(Rank(rank), order.holders)
        assert order_to(at, rank).holders == order.holders


def test_a_lost_worker_rolls_nothing_back_and_its_slices_move_to_the_others() -> None:
    at = world()
    at.vote()
    before = order_to(at, 0).holders
    at.leave(1)
    order = order_to(at, 0)
    assert order.state == 1
    assert order.holders == tuple(tuple(rank for rank in have if rank != 1) for have in before)
    assert order.keepers == ((0, 2),) * 6
    at.vote(0, 2)
    assert order_to(at, 0).holders == ((0, 2),) * 6
    assert at.facts(facts.RolledBack) == []


def test_slices_have_not_moved_before_the_step_is_committed() -> None:
    at = world()
    at.vote()
    at.leave(1)
    held = order_to(at, 0).holders
    at.say(0, ExchangeFailed(at.core.roster.generation, Step(2), 2, "the link broke"))
    at.sleep(1.0)
    again = order_to(at, 0)
    assert again.generation > 2
    assert (again.holders, again.keepers) == (held, ((0, 2),) * 6)


def test_a_newcomer_takes_part_at_once_and_fetches_nothing_by_itself() -> None:
    at = world()
    at.vote()
    at.leave(1)
    at.vote(0, 2)
    at.join(1, incarnation=2)
    at.vote(0, 2)
    order = order_to(at, 1)
    assert isinstance(order.work, StepWork)
    assert 1 in order.work.order.contributors
    assert held_by(Rank(1), order.holders) == ()
    assert len(held_by(Rank(1), order.keepers)) == 4
    assert not any(isinstance(message, Heal) for message in at.told[at.sessions[1]])
    at.say(1, Holding(order.state, 0.1, 100, (Rank(0),)))
    assert [fact.rank for fact in at.facts(facts.StateHealed)] == [1]


def test_when_the_last_copy_is_lost_the_run_goes_back_and_says_why() -> None:
    at = world(replicas=1)
    at.vote()
    at.leave(2)
    (back,) = at.facts(facts.RolledBack)
    assert (back.from_step, back.to_step) == (1, 0)
    assert back.reason == "2 of 6 slices of the optimizer's state were lost with the last that had them"
    assert [at.last(rank, Restore).slices for rank in (0, 1)] == [(0, 1, 2), (3, 4, 5)]
    at.restore()
    assert at.is_in(Phase.STEPPING)


def test_who_leaves_while_the_others_restore_is_no_reason_to_go_on_with_less() -> None:
    at = World(replace(PLAN, replicas=1))
    for rank in THREE:
        at.join(rank)
    for rank in (0, 1):
        at.say(rank, Holding(Step(0), 0.1, 10))
    at.leave(2)
    assert at.is_in(Phase.RESTORING)
    assert [at.last(rank, Restore).slices for rank in (0, 1)] == [(0, 1, 2), (3, 4, 5)]


def test_both_of_two_workers_hold_everything_and_either_may_die() -> None:
    at = World(replace(PLAN, workers=2)).start(0, 1)
    assert order_to(at, 0).holders == ((0, 1),) * 6
    at.vote()
    at.leave(0)
    assert order_to(at, 1).holders == ((1,),) * 6
    assert at.facts(facts.RolledBack) == []


def test_holders_that_come_back_to_a_successor_go_on_only_if_they_have_everything_between_them() -> None:
    for copies, outcome in ((2, Phase.STEPPING), (1, Phase.RESTORING)):
        before = world(replicas=copies)
        before.vote()
        plan, counters = before.core.book.plan, dict(before.core.at.counters)
        after = World(plan, after=before.core.at, generation=int(counters[GENERATION]))
        for rank in (0, 1):
            slices = held_by(Rank(rank), order_to(before, rank).holders)
            after.join(rank, holds=1, cursor=before.core.at.cursor, counters=counters, slices=slices)
        after.sleep(10.0)
        assert after.is_in(outcome)
        assert bool(after.facts(facts.RolledBack)) == (outcome is Phase.RESTORING)


def test_an_evaluation_moves_no_slices_and_the_step_after_it_does_in_a_generation_of_its_own() -> None:
    at = world(evaluate=True, evaluate_every=1)
    at.evaluate(THREE)
    at.vote()
    at.leave(1)
    order = order_to(at, 0)
    assert isinstance(order.work, EvaluateWork)
    assert order.keepers == order.holders
    at.evaluate((0, 2))
    after = order_to(at, 0)
    assert isinstance(after.work, StepWork)
    assert after.keepers == ((0, 2),) * 6
    assert after.generation > order.generation


def test_drifted_replicas_of_a_sharded_run_go_back_because_a_majority_has_what_it_was_given() -> None:
    at = world(verify_every=1)
    order = at.order
    at.vote(0, 1, parameter_hash="right")
    at.vote(2, parameter_hash="wrong")
    assert order.verify
    assert sorted(fact.rank for fact in at.facts(facts.ReplicaDrifted)) == [0, 1, 2]
    assert at.is_in(Phase.RESTORING)


def test_a_checkpoint_is_written_by_the_holders_and_begun_anew_in_a_new_generation() -> None:
    at = world(checkpoint_every=1)
    at.vote()
    first = order_to(at, 0).save
    assert first is not None
    assert first.writers == THREE
    at.leave(1)
    second = order_to(at, 0).save
    assert second is not None
    assert second.writers == (0, 2)
    at.vote(0, 2)
    assert order_to(at, 0).save is None
    at.say(0, ExchangeFailed(at.core.roster.generation, Step(2), 2, "state 1 was never whole"))
    assert at.core.saves.wanted


def test_what_fails_between_the_last_steps_is_tried_again_while_the_run_closes() -> None:
    at = world(steps=1)
    at.vote()
    order = order_to(at, 0)
    assert at.is_in(Phase.CLOSING)
    at.say(0, ExchangeFailed(order.generation, Step(2), 1, "the link broke"))
    at.sleep(1.0)
    again = order_to(at, 0)
    assert isinstance(again.work, Rest)
    assert again.generation > order.generation
    assert again.save is not None
    assert again.save != order.save
