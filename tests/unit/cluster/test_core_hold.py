"""The core in a pause that somebody asked for: where it stands, what still happens, what no clock counts."""

from __future__ import annotations

from dataclasses import replace

from runtime import events as facts
from runtime.cluster.messages import Heal, Holding, Order, Rest, RestorePoint, StepWork
from runtime.cluster.signals import PauseAsked, Phase, Position, ResumeAsked, SaveAsked, Tick
from runtime.ids import Cursor, Rank, Step
from tests.unit.cluster.world import PLAN, World

LONG = replace(PLAN, steps=9)


def held(world: World | None = None) -> World:
    """A run that stands after its first step."""
    world = world or World(LONG).start()
    world.feed(PauseAsked("kim"))
    assert world.is_in(Phase.STEPPING)
    world.vote()
    assert world.is_in(Phase.HELD)
    return world


def test_a_pause_finishes_the_step_and_orders_no_other() -> None:
    world = held()
    assert world.facts(facts.RunPaused) == [facts.RunPaused(Step(1), "kim")]
    for rank in (0, 1):
        order = world.last(rank, Order)
        assert order.work == Rest("paused by kim")
        assert (order.state, order.verdict is not None) == (1, True)
    world.sleep(1e6)
    world.feed(Tick())
    assert (world.is_in(Phase.HELD), world.wake) == (True, None)


def test_after_a_pause_the_next_step_begins() -> None:
    world = held()
    world.feed(ResumeAsked())
    assert world.order.step == 2
    world.vote()
    assert [step.step for step in world.facts(facts.StepCommitted)] == [1, 2]


def test_the_time_of_a_pause_is_no_part_of_a_step() -> None:
    world = held()
    world.sleep(1000.0)
    world.feed(ResumeAsked())
    world.sleep(2.0)
    world.vote()
    assert world.facts(facts.StepCommitted)[-1].seconds == 2.0


def test_a_pause_that_is_called_off_before_the_boundary_never_was() -> None:
    world = World(LONG).start()
    world.feed(PauseAsked("kim"))
    world.feed(ResumeAsked())
    world.vote()
    assert (world.order.step, world.facts(facts.RunPaused)) == (2, [])


def test_a_wish_to_go_on_without_a_pause_changes_nothing() -> None:
    world = World(LONG).start()
    world.feed(ResumeAsked())
    assert (world.is_in(Phase.STEPPING), world.actions) == (True, [])


def test_the_first_who_asks_for_a_pause_is_named() -> None:
    world = World(LONG).start()
    world.feed(PauseAsked("kim"))
    world.feed(PauseAsked("lee"))
    world.vote()
    assert world.facts(facts.RunPaused)[0].by == "kim"


def test_a_worker_that_dies_in_a_pause_comes_back_and_is_healed_before_the_run_goes_on() -> None:
    world = held()
    world.leave(1)
    assert (world.is_in(Phase.HELD), world.core.roster.active) == (True, (Rank(0),))
    world.join(1, incarnation=2)
    assert world.last(1, Heal)
    world.say(1, Holding(Step(1), 0.1, 10, (Rank(0),)))
    assert (world.is_in(Phase.HELD), world.core.roster.active) == (True, (Rank(0), Rank(1)))
    assert len(world.facts(facts.RunPaused)) == 1
    world.feed(ResumeAsked())
    assert world.order.contributors == (0, 1)


def test_too_few_workers_in_a_pause_are_waited_for_as_long_as_it_takes() -> None:
    world = held(World(replace(LONG, min_workers=2)).start())
    world.leave(1)
    assert world.is_in(Phase.PAUSED)
    assert world.wake is None
    world.sleep(1e6)
    world.feed(Tick())
    assert world.ended is None
    world.feed(ResumeAsked())
    assert world.wake is not None
    world.sleep(LONG.wait_seconds + 1)
    assert world.ended is not None
    assert world.ended.outcome == "gave_up"


def test_a_pause_that_is_asked_for_while_too_few_are_left_stops_the_clock() -> None:
    world = World(replace(LONG, min_workers=2)).start()
    world.leave(1)
    world.feed(PauseAsked("kim"))
    world.sleep(1e6)
    world.feed(Tick())
    assert world.ended is None
    world.join(1, incarnation=2)
    world.say(1, Holding(world.core.at.step, 0.1, 10, (Rank(0),)))
    assert world.is_in(Phase.HELD)


def test_nobody_left_in_a_pause_is_a_wait_for_somebody() -> None:
    world = held()
    world.leave(0)
    world.leave(1)
    assert world.is_in(Phase.PAUSED) or world.is_in(Phase.GATHERING)
    world.sleep(1e6)
    assert world.ended is None


def test_a_successor_of_a_coordinator_that_died_in_a_pause_stands_too() -> None:
    at = Position(Step(4), Cursor(32))
    world = World(LONG, RestorePoint(Step(0), Cursor(0), ""), after=at, generation=3, held="kim")
    world.feed(Tick())
    assert world.wake is None  # nobody gives up in a pause
    for rank in (0, 1):
        world.join(rank, incarnation=1, holds=4, cursor=Cursor(32))
    assert world.is_in(Phase.HELD)
    assert world.facts(facts.RunPaused) == [facts.RunPaused(Step(4), "kim")]
    world.feed(ResumeAsked())
    assert world.order.step == 5


def test_an_evaluation_that_is_due_waits_for_the_end_of_the_pause() -> None:
    world = World(replace(LONG, evaluate=True, evaluate_every=1)).start()
    world.evaluate()
    held(world)
    world.feed(ResumeAsked())
    assert world.is_in(Phase.EVALUATING)


def test_the_last_step_ends_the_run_whoever_asked_for_a_pause() -> None:
    world = World(replace(PLAN, steps=1)).start()
    world.feed(PauseAsked("kim"))
    world.vote()
    assert world.is_in(Phase.CLOSING)


def test_a_stop_ends_a_pause_with_a_checkpoint() -> None:
    world = held()
    world.stop()
    assert world.is_in(Phase.CLOSING)
    world.saved(0)
    assert world.ended is not None
    assert world.ended.outcome == "stopped"


def test_a_checkpoint_that_somebody_wants_is_written_of_the_next_boundary() -> None:
    world = World(LONG).start()
    world.feed(SaveAsked())
    assert world.facts(facts.CheckpointStarted) == []
    world.vote()
    assert world.facts(facts.CheckpointStarted) == [facts.CheckpointStarted(Step(1))]
    assert isinstance(world.last(0, Order).work, StepWork)


def test_in_a_pause_the_state_at_hand_is_written_once() -> None:
    world = held()
    world.feed(SaveAsked())
    assert world.facts(facts.CheckpointStarted) == [facts.CheckpointStarted(Step(1))]
    world.saved(0)
    assert world.is_in(Phase.HELD)
    world.feed(SaveAsked())
    assert len(world.facts(facts.CheckpointStarted)) == 1


def test_a_checkpoint_wanted_in_a_pause_waits_for_the_older_one_that_is_being_written() -> None:
    world = World(LONG).start()
    world.feed(SaveAsked())
    world.vote()
    held(world)
    world.feed(SaveAsked())
    assert [each.step for each in world.facts(facts.CheckpointStarted)] == [1]
    world.saved(0)
    assert [each.step for each in world.facts(facts.CheckpointStarted)] == [1, 2]


def test_a_writer_that_is_lost_in_a_pause_leaves_a_checkpoint_that_the_others_write() -> None:
    world = held()
    world.feed(SaveAsked())
    world.shared(0)
    world.leave(1)
    assert [each.step for each in world.facts(facts.CheckpointStarted)] == [1, 1]


def test_a_share_that_makes_an_attempt_hopeless_in_a_pause_is_no_reason_to_wait() -> None:
    world = World(replace(LONG, workers=3)).start(0, 1, 2)
    held(world)
    world.feed(SaveAsked())
    world.leave(2)
    world.shared(0, 3)
    assert world.is_in(Phase.HELD)
    assert [each.step for each in world.facts(facts.CheckpointStarted)] == [1, 1]
