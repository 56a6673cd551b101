"""The core and bad numbers: who is asked once more, what is skipped and clipped, when the run goes back or gives up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from runtime import events as facts
from runtime.cluster.explosion import MOST_ROLLBACKS
from runtime.cluster.inquiry import MOST_SUSPICIONS
from runtime.cluster.messages import Finish, Holding, Order, Restore
from runtime.cluster.signals import Phase
from runtime.ids import Rank, Step
from tests.unit.cluster.world import PLAN, World, vote_on

NAN = math.nan
LONG = replace(PLAN, steps=400)
FOUR = replace(LONG, workers=4)
JUDGED = replace(LONG, spike_zscore=2.5)
ALONE = replace(LONG, workers=1)


def bad(world: World, own: Mapping[int, float]) -> None:
    """Every owner votes on a sum that is not finite; `own` are the square sums of their own parts."""
    order = world.order
    for rank in order.contributors:
        vote = vote_on(order, int(rank), finite=False, grad_square_sum=NAN, own_square_sum=own[int(rank)])
        world.say(int(rank), vote)


def bad_data(world: World) -> None:
    """A step whose gradient is not finite whoever computes it."""
    before = len(world.facts(facts.StepCommitted))
    for _ in range(2):  # once, and once more by others
        if len(world.facts(facts.StepCommitted)) == before and world.ended is None:
            bad(world, dict.fromkeys(range(4), NAN))


def go_back(world: World) -> None:
    """Five bad steps, and everybody restores."""
    for _ in range(5):
        bad_data(world)
    world.sleep(0.01)


def test_the_shards_of_a_worker_with_a_bad_part_are_computed_once_more_by_others() -> None:
    world = World(FOUR).start(0, 1, 2, 3)
    first = world.order
    bad(world, {0: 4.0, 1: NAN, 2: 4.0, 3: 4.0})
    assert world.facts(facts.StepCommitted) == []
    assert (world.order.step, world.order.generation) == (1, first.generation + 1)
    assert Rank(1) not in world.order.owners
    assert all(now == then for now, then in zip(world.order.owners, first.owners, strict=True) if then != 1)
    (aborted,) = world.facts(facts.StepAborted)
    assert aborted.reason == "the gradient is not finite; what worker 1 computed is computed once more by others"


def test_if_the_others_find_nothing_wrong_the_device_is_suspect_and_the_step_counts() -> None:
    world = World(FOUR).start(0, 1, 2, 3)
    bad(world, {0: 4.0, 1: NAN, 2: 4.0, 3: 4.0})
    world.vote()
    (suspected,) = world.facts(facts.DeviceSuspected)
    assert (suspected.rank, suspected.step, suspected.shards, suspected.times) == (1, 1, (1,), 1)
    assert [fact.applied for fact in world.facts(facts.StepCommitted)] == [True]
    assert Rank(1) in world.order.owners  # it is given another chance


def test_if_the_others_find_the_same_it_is_the_data_and_the_step_is_skipped_everywhere() -> None:
    world = World(FOUR).start(0, 1, 2, 3)
    bad(world, {0: 4.0, 1: NAN, 2: 4.0, 3: 4.0})
    bad(world, {0: NAN, 2: 4.0, 3: 4.0})
    assert [(fact.rank, fact.shards) for fact in world.facts(facts.DataSuspected)] == [(1, (1,))]
    (fact,) = world.facts(facts.StepCommitted)
    assert (fact.applied, world.core.at.cursor) == (False, 8)
    verdict = world.last(0, Order).verdict
    assert verdict is not None
    assert (verdict.committed.applied, verdict.update) == (False, 0)


def test_when_every_part_is_bad_each_worker_computes_another_one_s() -> None:
    world = World(LONG).start()
    bad(world, {0: NAN, 1: NAN})
    assert world.order.owners == (1, 1, 0, 0)


def test_when_nobody_measured_its_own_part_it_is_asked_for_first() -> None:
    world = World(LONG).start()
    owners = world.order.owners
    world.vote(finite=False)
    assert (world.order.inspect, world.order.owners) == (True, owners)
    bad(world, {0: NAN, 1: 4.0})
    assert (world.order.inspect, world.order.owners) == (False, (1, 1, 1, 1))


def test_a_sum_that_is_bad_though_no_part_is_convicts_nobody_without_a_second_look() -> None:
    world = World(LONG).start()
    bad(world, {0: 4.0, 1: 4.0})
    assert world.order.owners == (1, 1, 0, 0)
    world.vote()
    assert [fact.times for fact in world.facts(facts.DeviceSuspected)] == [1, 1]


def test_a_single_worker_has_nobody_to_ask() -> None:
    world = World(ALONE).start(0)
    world.vote(finite=False)
    assert [fact.applied for fact in world.facts(facts.StepCommitted)] == [False]


def test_a_death_during_the_inquiry_does_not_start_it_anew() -> None:
    world = World(FOUR).start(0, 1, 2, 3)
    bad(world, {0: 4.0, 1: NAN, 2: 4.0, 3: 4.0})
    world.leave(3)
    bad(world, {0: NAN, 1: 4.0, 2: 4.0})
    assert [fact.applied for fact in world.facts(facts.StepCommitted)] == [False]


def test_a_device_that_was_wrong_three_times_leaves_for_good_and_the_others_go_on() -> None:
    world = World(FOUR).start(0, 1, 2, 3)
    for times in range(1, MOST_SUSPICIONS + 1):
        assert world.facts(facts.WorkerRetired) == []
        bad(world, {0: 4.0, 1: NAN, 2: 4.0, 3: 4.0})
        world.vote()
        assert world.facts(facts.DeviceSuspected)[-1].times == times
    (retired,) = world.facts(facts.WorkerRetired)
    assert (retired.rank, retired.incarnation) == (1, 1)
    assert world.last(1, Finish).outcome == "evicted"
    assert [member.rank for member in world.core.roster.members] == [0, 2, 3]
    world.vote()
    assert world.core.at.step == MOST_SUSPICIONS + 1


def test_the_last_workers_that_the_run_needs_are_never_sent_away() -> None:
    world = World(replace(LONG, min_workers=2)).start()
    for _ in range(MOST_SUSPICIONS + 1):
        bad(world, {0: 4.0, 1: NAN})
        world.vote()
    assert world.facts(facts.WorkerRetired) == []
    assert [member.rank for member in world.core.roster.members] == [0, 1]


def test_one_skipped_step_ends_a_run_that_stops_on_nonfinite() -> None:
    world = World(replace(LONG, stop_on_nonfinite=True)).start()
    bad_data(world)
    assert world.ended is not None
    assert (world.ended.outcome, world.core.finished) == ("failed", True)
    assert world.ended.reason == "the gradient of step 1 was not finite; lower optim.lr"


def warmed() -> World:
    """Thirty steps with norms of 1/4 (square sum 4 over 8 tokens), so that the next ones are judged."""
    world = World(JUDGED).start()
    for step in range(30):
        world.vote(grad_square_sum=4.0 + 0.2 * (step % 5))
    return world


def test_a_norm_that_stands_out_is_clipped_by_the_verdict_and_said() -> None:
    world = warmed()
    world.vote(grad_square_sum=16.0)
    (clipped,) = world.facts(facts.GradientClipped)
    assert (clipped.step, clipped.grad_norm) == (31, 0.5)
    verdict = world.last(1, Order).verdict
    assert verdict is not None
    assert verdict.committed.clip_norm == clipped.clipped_to < 0.4
    assert world.facts(facts.StepAborted) == []
    world.vote()
    verdict = world.last(1, Order).verdict
    assert verdict is not None
    assert verdict.committed.clip_norm == 0


def test_a_norm_out_of_all_proportion_is_asked_about_before_it_is_clipped() -> None:
    world = warmed()
    world.vote(grad_square_sum=4e8)
    assert world.order.inspect
    order = world.order
    for rank, own in ((0, 2.0), (1, 4e8)):
        world.say(rank, vote_on(order, rank, grad_square_sum=4e8, own_square_sum=own))
    assert world.order.owners == (0, 0, 0, 0)
    world.vote(grad_square_sum=4e8)
    assert [fact.rank for fact in world.facts(facts.DataSuspected)] == [1]
    assert len(world.facts(facts.GradientClipped)) == 1


def test_five_skips_in_a_row_send_everybody_back_past_the_samples_and_at_half_the_rate() -> None:
    world = World(LONG).start()
    for _ in range(2):
        world.vote()
    for _ in range(4):
        bad_data(world)
    world.vote()
    assert world.core.at.step == 7
    for _ in range(5):
        bad_data(world)
    assert world.facts(facts.RolledBack) == []  # the commit comes first, with its own position
    assert world.core.at.step == 12
    world.sleep(0.01)
    (back,) = world.facts(facts.RolledBack)
    assert (back.from_step, back.to_step, back.reason) == (12, 0, "the gradient was not finite 5 times in a row")
    assert (back.state_cursor, back.cursor, back.passed_over) == (0, 96, 96)
    assert (back.rate_factor, back.rate_updates) == (0.5, 200)
    assert world.is_in(Phase.RESTORING)
    restore = world.last(1, Restore)
    assert (restore.step, restore.cursor, restore.path) == (0, 96, "")
    generation = world.core.roster.generation
    world.restore()
    assert (world.order.step, world.order.cursor) == (1, 96)
    assert world.order.generation == generation + 1
    world.vote()
    assert [fact.learning_rate for fact in world.facts(facts.StepCommitted)[-1:]] == [pytest.approx(0.05)]
    assert world.last(0, Order).save is not None  # what was passed over is on disk soon


def test_the_newest_checkpoint_is_where_the_run_goes_back_to_and_none_is_begun_in_trouble() -> None:
    world = World(replace(LONG, checkpoint_every=2)).start()
    for _ in range(3):
        world.vote()
    world.saved(0)
    for _ in range(5):
        bad_data(world)
    assert [fact.step for fact in world.facts(facts.CheckpointStarted)] == [2]
    world.sleep(0.01)
    assert (world.last(0, Restore).step, world.last(0, Restore).path) == (2, "step-2")
    assert world.core.saves.newest.cursor == world.core.at.cursor == 64


def test_a_checkpoint_that_is_being_written_is_waited_for() -> None:
    world = World(replace(LONG, checkpoint_every=2)).start()
    for _ in range(3):
        world.vote()
    for _ in range(5):
        bad_data(world)
    world.sleep(0.01)
    assert world.facts(facts.RolledBack) == []
    world.saved(0)
    world.sleep(0.3)
    assert world.last(0, Restore).step == 2


def test_a_newcomer_that_fetches_the_state_is_asked_to_join_anew() -> None:
    world = World(LONG).start()
    world.leave(1)
    session = world.join(1, incarnation=2)
    world.vote()
    for _ in range(5):
        bad_data(world)
    world.sleep(0.01)
    assert world.closed == [session]
    assert (world.core.roster.active, world.is_in(Phase.RESTORING)) == ((), True)
    world.restore()
    assert world.core.roster.active == (0,)


def test_everybody_lost_on_the_way_back_waits_for_somebody() -> None:
    world = World(LONG).start()
    go_back(world)
    for rank in (0, 1):
        world.leave(rank)
    assert world.is_in(Phase.PAUSED)
    world.join(0, incarnation=2)
    world.join(1, incarnation=2)
    assert (world.last(0, Restore).step, world.last(0, Restore).cursor) == (0, 40)


def test_a_death_between_the_last_skip_and_the_way_back_changes_nothing() -> None:
    world = World(LONG).start()
    for _ in range(5):
        bad_data(world)
    world.leave(1)
    world.sleep(0.01)
    assert len(world.facts(facts.RolledBack)) == 1
    world.restore()
    assert world.order.owners == (0, 0, 0, 0)


def test_a_successor_of_a_coordinator_that_died_before_the_way_back_goes_back() -> None:
    world = World(LONG).start()
    for _ in range(5):
        bad_data(world)
    successor = World(LONG, after=world.core.at, generation=world.core.roster.generation)
    for rank in (0, 1):
        successor.join(rank, holds=5, counters=world.core.at.counters)
    successor.sleep(0.01)
    assert [fact.to_step for fact in successor.facts(facts.RolledBack)] == [0]


def test_after_three_ways_back_the_run_gives_up_loudly() -> None:
    world = World(LONG).start()
    for _ in range(MOST_ROLLBACKS):
        go_back(world)
        assert world.ended is None
        world.restore()
    go_back(world)
    assert world.ended is not None
    assert world.ended.outcome == "gave_up"
    assert world.ended.reason == (
        "step 5: the gradient was not finite 5 times in a row, and going back 3 times did not help; lower optim.lr, "
        "or look at the samples that were passed over"
    )


def test_a_run_of_epochs_ends_where_its_samples_do_though_some_were_passed_over() -> None:
    world = World(replace(LONG, steps=0, epochs=1.0)).start()  # 100 samples: 13 steps, the last one of 4
    go_back(world)
    world.restore()
    assert world.core.book.last == 8
    while world.is_in(Phase.STEPPING):
        world.vote()
    assert (world.core.at.step, world.core.at.cursor) == (8, 100)


def test_a_stop_that_was_asked_for_ends_the_run_at_the_good_state() -> None:
    world = World(LONG).start()
    for _ in range(5):
        bad_data(world)
    world.stop()
    world.sleep(0.01)
    world.restore()
    world.saved(0)
    assert world.ended is not None
    assert (world.ended.outcome, world.core.at.step) == ("stopped", 0)


def test_holding_an_older_state_than_the_one_asked_for_does_not_end_the_way_back() -> None:
    world = World(LONG).start()
    go_back(world)
    world.say(0, Holding(Step(5), 0.1, 1))
    world.say(1, Holding(Step(0), 0.1, 1))
    assert world.is_in(Phase.RESTORING)
