"""The core from nothing to the first step: gathering, agreeing, restoring, succeeding a dead coordinator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runtime import events as facts
from runtime.cluster.messages import CheckpointDone, Holding, Order, Progress, Refused, Restore, RestorePoint, Verdict
from runtime.cluster.signals import GENERATION, ROLLED_BACK, Phase, Position, Tick
from runtime.flow import CommittedStep
from runtime.ids import Cursor, Step
from tests.unit.cluster.world import PLAN, World

VERDICT = Verdict(CommittedStep(Step(2), True, 16, 16.0, 1.0), 0.1, 2)
AT_2 = Position(Step(2), Cursor(16), {GENERATION: 4, "applied": 2}, VERDICT)


def successor(**more: Any) -> World:
    return World(after=replace(AT_2, counters=dict(AT_2.counters)), generation=4, **more)


def test_the_first_start_waits_for_every_worker_however_long() -> None:
    world = World()
    world.join(0)
    world.sleep(10_000)
    assert world.is_in(Phase.GATHERING)
    world.join(1)
    assert world.is_in(Phase.RESTORING)


def test_a_successor_that_nobody_joins_gives_up_after_its_wait() -> None:
    world = successor(plan=replace(PLAN, wait_seconds=60.0))
    world.feed(Tick())
    world.sleep(59.0)
    assert world.ended is None
    world.sleep(1.0)
    assert world.ended is not None
    assert (world.ended.outcome, world.ended.reason) == ("gave_up", "no worker came back within 60 s")


def test_a_successor_whose_workers_came_back_in_time_waits_no_longer() -> None:
    world = successor(plan=replace(PLAN, wait_seconds=60.0))
    world.feed(Tick())
    world.sleep(59.0)
    world.join(0)
    world.join(1)
    world.restore()
    world.sleep(60.0)
    assert world.ended is None
    assert world.is_in(Phase.STEPPING)


def test_a_worker_that_leaves_while_gathering_must_come_again() -> None:
    world = World()
    world.join(0)
    world.leave(0)
    world.join(1)
    assert world.is_in(Phase.GATHERING)


def test_everybody_restores_the_checkpoint_and_then_the_first_step_is_ordered() -> None:
    world = World(point=RestorePoint(Step(1), Cursor(8), "step-1", {"applied": 1}))
    world.join(0)
    world.join(1)
    assert world.last(0, Restore) == Restore(Step(1), Cursor(8), {"applied": 1}, "step-1")
    world.say(0, Holding(Step(1), 0.1, 10))
    assert world.is_in(Phase.RESTORING)
    world.say(1, Holding(Step(1), 0.1, 10))
    assert (world.order.step, world.order.cursor, world.order.owners) == (2, 8, (0, 0, 1, 1))
    assert [fact.first_step for fact in world.facts(facts.RunStarted)] == [2]


def test_a_resumed_run_forgets_the_rollbacks_of_generations_that_are_over() -> None:
    world = World(point=RestorePoint(Step(1), Cursor(8), "step-1", {ROLLED_BACK: 9}))
    world.start()
    assert ROLLED_BACK not in world.core.at.counters


def test_a_worker_that_dies_while_restoring_is_not_waited_for() -> None:
    world = World()
    world.join(0)
    world.join(1)
    world.say(0, Holding(Step(0), 0.1, 10))
    world.leave(1)
    assert world.order.owners == (0, 0, 0, 0)


def test_when_everybody_dies_while_restoring_the_run_waits_for_somebody_to_come_back() -> None:
    world = World()
    world.join(0)
    world.join(1)
    world.leave(0)
    world.leave(1)
    assert world.is_in(Phase.PAUSED)
    world.join(0)
    assert world.is_in(Phase.GATHERING)
    world.sleep(PLAN.gather_seconds)
    assert world.is_in(Phase.RESTORING)


def test_other_training_data_is_refused() -> None:
    world = World()
    world.join(0)
    world.join(1, data_fingerprint="other")
    assert "reads other training data" in world.last(1, Refused).reason


def test_a_stale_incarnation_is_refused() -> None:
    world = World()
    world.join(0, incarnation=3)
    world.join(0, incarnation=2)
    assert world.last(0, Refused).reason == "incarnation 2 of worker 0 was replaced by 3"


def test_a_second_session_of_a_slot_ends_the_first_one() -> None:
    world = World().start()
    old = world.sessions[1]
    generation = world.order.generation
    world.join(1)
    assert isinstance(world.told[old][-1], Refused)
    assert world.order.generation == generation + 1
    assert world.order.owners == (0, 0, 0, 0)


def test_messages_of_a_session_that_was_replaced_are_ignored() -> None:
    world = World().start()
    old = world.sessions[1]
    world.join(1)
    world.sessions[1] = old
    world.say(1, Progress(1, "compute", 0.1))
    assert world.actions == []


def test_progress_moves_nothing() -> None:
    world = World().start()
    world.say(0, Progress(1, "compute", 0.1))
    assert world.actions == []


def test_a_successor_goes_on_from_the_journal_when_a_worker_holds_that_state() -> None:
    world = successor()
    world.join(0, holds=2, counters=AT_2.counters)
    assert world.is_in(Phase.GATHERING)
    world.join(1, holds=2, counters=AT_2.counters)
    assert (world.order.step, world.order.cursor, world.order.generation) == (3, 16, 5)
    assert world.facts(facts.RunStarted) == []
    assert world.facts(facts.RolledBack) == []


def test_a_successor_does_not_wait_longer_than_the_gathering_time() -> None:
    world = successor()
    world.join(0, holds=2, counters=AT_2.counters)
    world.sleep(PLAN.gather_seconds)
    assert world.order.owners == (0, 0, 0, 0)


def test_the_gathering_time_passes_without_effect_when_the_worker_left_again() -> None:
    world = successor()
    world.join(0, holds=2, counters=AT_2.counters)
    world.leave(0)
    world.sleep(PLAN.gather_seconds)
    assert world.is_in(Phase.GATHERING)


def test_a_worker_that_prepared_the_step_and_missed_the_verdict_is_told_it_again() -> None:
    world = successor()
    world.join(0, holds=1, prepared=4, counters={GENERATION: 4})
    world.join(1, holds=-1)
    assert world.last(0, Order).verdict == VERDICT
    assert world.order.contributors == (0,)
    assert world.order.receivers == (0, 1)


def test_a_sum_prepared_in_another_generation_than_the_commit_is_worth_nothing() -> None:
    world = successor()
    world.join(0, holds=1, prepared=3, counters={GENERATION: 3}, cursor=8)
    world.join(1)
    assert [(fact.from_step, fact.to_step) for fact in world.facts(facts.RolledBack)] == [(2, 1)]
    assert world.core.at.cursor == 8


def test_when_nobody_holds_the_state_the_run_goes_back_to_the_checkpoint_and_says_so() -> None:
    world = successor(point=RestorePoint(Step(1), Cursor(8), "step-1", {"applied": 1}))
    world.join(0)
    world.join(1)
    assert [(fact.from_step, fact.to_step) for fact in world.facts(facts.RolledBack)] == [(2, 1)]
    assert world.last(0, Restore).path == "step-1"
    assert world.core.at.counters == {"applied": 1, ROLLED_BACK: 4}


def test_a_state_of_a_branch_that_was_rolled_back_is_not_taken_for_the_newest() -> None:
    world = World(after=Position(Step(3), Cursor(24), {GENERATION: 6, ROLLED_BACK: 5}), generation=6)
    world.join(0, holds=2, counters={GENERATION: 4}, cursor=16)
    world.join(1)
    assert world.last(0, Restore).step == 0


def test_the_same_step_of_another_generation_is_another_state() -> None:
    world = successor()
    world.join(0, holds=2, counters={GENERATION: 3})
    world.join(1, holds=2, counters={GENERATION: 4})
    assert world.order.contributors == (1,)


def test_a_successor_before_the_first_commit_does_not_announce_the_run_again() -> None:
    world = World(generation=1)
    world.start()
    assert world.facts(facts.RunStarted) == []
    assert world.order.generation == 2


def test_a_checkpoint_that_a_dead_coordinator_ordered_is_journaled_and_moves_nothing_else() -> None:
    world = successor()
    world.join(0, holds=2, counters=AT_2.counters)
    world.say(0, CheckpointDone(Step(1), "step-1", 1, 0.1, "hash"))
    assert [fact.step for fact in world.facts(facts.CheckpointWritten)] == [1]
    assert world.core.saves.newest.step == 0


def test_the_run_s_first_fact_has_the_model_s_size_as_the_workers_know_it() -> None:
    world = World()
    for rank in (0, 1):
        world.join(rank, parameters=1000, trained_parameters=900)
    (started,) = world.facts(facts.RunStarted)
    assert (started.parameters, started.trained_parameters) == (1000, 900)
