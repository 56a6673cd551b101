"""The core's checkpoints and its end: saving on cadence, closing, stopping in every phase."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runtime import events as facts
from runtime.cluster.messages import Finish, Order, Rest, RestorePoint, Save
from runtime.cluster.plan import RunPlan
from runtime.cluster.signals import Phase, Tick
from runtime.ids import Cursor, Rank, Step
from tests.unit.cluster.world import PLAN, World, done_of

SAVES = replace(PLAN, checkpoint_every=1, steps=4)


def test_the_members_save_the_state_of_a_boundary_while_they_go_on() -> None:
    world = World(SAVES).start()
    world.vote()
    assert [world.last(rank, Order).save for rank in (0, 1)] == [Save("1-1", (Rank(0), Rank(1)))] * 2
    assert world.order.step == 2
    world.saved(0)
    assert world.core.saves.newest == RestorePoint(Step(1), Cursor(8), "step-1", world.core.at.counters)


def test_only_one_checkpoint_is_written_at_a_time() -> None:
    world = World(SAVES).start()
    world.vote()
    world.vote()
    assert world.saves(0) is None
    world.saved(0)
    world.vote()
    assert world.saves(0)


def test_a_lost_writer_leaves_a_checkpoint_that_is_wanted_again() -> None:
    world = World(SAVES).start()
    world.vote()
    world.leave(0)
    assert world.saves(1)


def test_a_lost_writer_that_finishes_all_the_same_is_believed() -> None:
    world = World(SAVES).start()
    world.vote()
    attempt = world.saves(0)
    assert attempt is not None
    world.leave(0)
    world.vote()
    world.join(0, incarnation=1)
    world.say(0, done_of(1, attempt.attempt))
    assert world.core.saves.newest.path == "step-1"


def test_a_failed_checkpoint_is_told_and_the_run_goes_on() -> None:
    world = World(SAVES).start()
    world.vote()
    world.saved(0, error="the disk is full")
    assert [fact.reason for fact in world.facts(facts.CheckpointFailed)] == ["the disk is full"]
    assert world.is_in(Phase.STEPPING)


def test_a_state_that_is_evaluated_is_saved_with_what_was_found() -> None:
    world = World(replace(SAVES, evaluate=True, evaluate_every=1)).start()
    world.evaluate()
    world.vote()
    assert world.saves(0) is None
    world.evaluate()
    assert world.saves(0)
    assert world.last(0, Order).metrics == {
        "eval/loss": 1.5,
        "eval/perplexity": math.exp(1.5),
        "eval/token_accuracy": 0.25,
    }


def test_checkpoints_on_the_clock() -> None:
    world = World(replace(PLAN, checkpoint_every_seconds=60.0)).start()
    world.vote()
    assert world.saves(0) is None
    world.now = 61.0
    world.vote()
    assert world.saves(0)


def closing(plan: RunPlan = PLAN) -> World:
    world = World(plan).start()
    for _ in range(3):
        world.vote()
    return world


def test_closing_waits_for_the_last_checkpoint() -> None:
    world = closing()
    assert world.is_in(Phase.CLOSING)
    assert isinstance(world.last(0, Order).work, Rest)
    assert world.ended is None
    world.saved(0)
    assert world.ended is not None
    assert (world.ended.outcome, world.ended.reason) == ("done", "")
    assert world.last(1, Finish).outcome == "done"


def test_closing_saves_the_last_state_after_an_older_checkpoint_is_through() -> None:
    world = World(replace(PLAN, checkpoint_every=2)).start()
    for _ in range(3):
        world.vote()
    assert world.saves(0) is None
    world.saved(0)
    assert world.saves(0)
    assert world.last(0, Order).state == 3


def test_a_last_checkpoint_that_cannot_be_written_fails_the_run() -> None:
    world = closing()
    world.saved(0, error="the disk is full")
    assert world.ended is not None
    assert world.ended.reason == "the last checkpoint could not be written: the disk is full"


def test_the_writer_of_the_last_checkpoint_dies_and_another_writes_it() -> None:
    world = closing()
    world.leave(0)
    assert world.saves(1)
    world.saved(1)
    assert world.ended is not None


def test_everybody_dies_while_closing_and_the_run_ends_with_those_who_come_back() -> None:
    world = closing(replace(PLAN, checkpoint_every=2))
    world.saved(0)
    world.leave(0)
    world.leave(1)
    assert world.is_in(Phase.PAUSED)
    world.join(0)
    world.join(1)
    world.restore()
    assert world.order.step == 3


def test_a_newcomer_while_closing_has_nothing_to_do() -> None:
    world = closing()
    world.join(2)
    assert world.is_in(Phase.CLOSING)
    world.saved(0)
    assert world.last(2, Finish).outcome == "done"


def test_a_run_that_is_already_at_its_end_is_done_at_once() -> None:
    world = World(point=RestorePoint(Step(3), Cursor(24), "step-3"))
    world.start()
    assert world.ended is not None
    assert world.ended.outcome == "done"


def test_a_stop_lets_the_step_finish_and_saves_it() -> None:
    world = World().start()
    world.stop()
    assert world.is_in(Phase.STEPPING)
    world.vote()
    assert world.is_in(Phase.CLOSING)
    world.saved(0)
    assert world.ended is not None
    assert (world.ended.outcome, world.ended.reason) == ("stopped", "Ctrl-C")


def test_a_stop_cuts_an_evaluation_short() -> None:
    world = World(replace(PLAN, evaluate=True)).start()
    world.stop()
    assert world.is_in(Phase.CLOSING)


@pytest.mark.parametrize("ranks", [(), (0,), (0, 1)])
def test_a_stop_before_the_first_step_ends_at_once(ranks: tuple[int, ...]) -> None:
    world = World()
    for rank in ranks:
        world.join(rank)
    world.stop()
    assert world.ended is not None
    assert world.ended.outcome == "stopped"


def test_a_stop_in_a_pause_saves_what_the_living_hold() -> None:
    world = World(replace(PLAN, min_workers=2)).start()
    world.vote()
    world.leave(1)
    world.stop()
    assert world.is_in(Phase.CLOSING)
    world.saved(0)
    assert world.ended is not None
    assert world.ended.outcome == "stopped"


def test_a_stop_in_a_pause_without_workers_ends_at_once() -> None:
    world = World().start()
    world.leave(0)
    world.leave(1)
    world.stop()
    assert world.ended is not None


def test_a_stop_while_closing_changes_nothing() -> None:
    world = closing()
    world.stop()
    assert world.is_in(Phase.CLOSING)


def test_after_the_end_nothing_comes() -> None:
    world = closing()
    world.saved(0)
    world.join(5)
    assert world.actions == []
    world.feed(Tick())
    assert world.actions == []
