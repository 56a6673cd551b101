"""Workers that live and cannot reach each other: retries that become rarer, and one that is left out."""

from __future__ import annotations

from dataclasses import replace

from runtime import events as facts
from runtime.cluster.messages import ExchangeFailed, Heal, Holding, Order, Rest
from runtime.cluster.quarrel import EXILE_SECONDS, MOST_RETRIES, RETRY_SECONDS, Quarrel
from runtime.cluster.signals import Phase
from runtime.ids import Rank, Step
from tests.unit.cluster.world import PLAN, World

THREE = replace(PLAN, workers=3, steps=50)
ALL = (Rank(0), Rank(1), Rank(2))


def complain(world: World, rank: int, about: int) -> None:
    """A worker could not have the sum of the step under way."""
    order = world.order
    world.say(rank, ExchangeFailed(order.generation, order.step, about, "reset"))


def quarrel(world: World, one: int, other: int) -> None:
    """The link between two workers stays cut until the coordinator has had enough."""
    for _ in range(MOST_RETRIES + 1):
        complain(world, one, other)
        complain(world, other, one)
        world.sleep(1000 * RETRY_SECONDS)


def test_each_retry_of_a_step_waits_longer_until_the_step_is_finished() -> None:
    world = World(THREE).start(0, 1, 2)
    waits = []
    for _ in range(3):
        complain(world, 0, -1)
        assert world.wake is not None
        waits.append(world.wake - world.now)
        world.sleep(waits[-1])
    assert waits == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS]
    world.vote()
    complain(world, 0, -1)
    assert world.wake == world.now + RETRY_SECONDS


def test_of_two_that_cannot_reach_each_other_the_higher_rank_is_left_out_and_told_why() -> None:
    world = World(THREE).start(0, 1, 2)
    before = world.order
    quarrel(world, 0, 2)
    assert (world.order.step, world.order.contributors, world.order.receivers) == (before.step, (0, 1), (0, 1))
    rest = world.last(2, Order).work
    assert isinstance(rest, Rest)
    assert rest.reason == "worker 2 lives, but others cannot exchange gradients with it"
    assert [fact.place for fact in world.facts(facts.Warned)] == ["worker 2"]
    assert world.closed == []
    world.vote()
    assert [fact.step for fact in world.facts(facts.StepCommitted)] == [1]


def test_whoever_most_others_complain_about_is_left_out() -> None:
    world = World(THREE).start(0, 1, 2)
    for _ in range(MOST_RETRIES + 1):
        complain(world, 0, 1)
        complain(world, 2, 0)
        complain(world, 2, 1)
        world.sleep(1000 * RETRY_SECONDS)
    assert world.order.contributors == (0, 2)


def test_nobody_is_left_out_when_nobody_knows_whom_to_blame() -> None:
    world = World(THREE).start(0, 1, 2)
    for _ in range(3 * MOST_RETRIES):
        complain(world, 0, -1)
        world.sleep(1000 * RETRY_SECONDS)
    assert world.order.contributors == ALL


def test_who_was_left_out_comes_back_as_a_newcomer_in_a_generation_of_its_own() -> None:
    world = World(THREE).start(0, 1, 2)
    quarrel(world, 0, 2)
    world.vote()
    world.vote()
    world.now += EXILE_SECONDS
    generation = world.order.generation
    world.vote()
    assert world.last(2, Heal).step == 3
    assert (world.order.generation, world.order.receivers) == (generation + 1, ALL)
    world.say(2, Holding(Step(3), 0.1, 10))
    world.vote()
    assert world.order.contributors == ALL


def test_the_second_time_lasts_twice_as_long() -> None:
    found = Quarrel()
    for expected in (EXILE_SECONDS, 2 * EXILE_SECONDS):
        for _ in range(MOST_RETRIES):
            found.complain(Rank(0), 1)
            assert found.failed(ALL, 0.0) is None
        found.complain(Rank(0), 1)
        assert found.failed(ALL, 0.0) == 1
        assert found.exiles == {1: expected}


def test_a_newcomer_that_cannot_be_reached_must_join_anew_and_wait() -> None:
    world = World(THREE).start(0, 1, 2)
    world.leave(2)
    world.join(2, incarnation=2)
    world.vote()
    assert world.order.receivers == ALL
    quarrel(world, 0, 2)
    assert world.closed == [world.sessions[2]]
    world.join(2, incarnation=2)
    world.vote()
    assert world.order.receivers == (0, 1)


def test_a_run_that_cannot_do_without_it_pauses_until_its_time_is_over() -> None:
    world = World(replace(PLAN, min_workers=2, steps=50)).start(0, 1)
    quarrel(world, 0, 1)
    assert world.is_in(Phase.PAUSED)
    world.sleep(EXILE_SECONDS)
    assert world.is_in(Phase.STEPPING)
    assert world.order.contributors == (0, 1)


def test_who_was_left_out_saves_the_run_when_everybody_else_dies() -> None:
    world = World(replace(PLAN, steps=50)).start(0, 1)
    world.vote()
    quarrel(world, 0, 1)
    world.leave(0)
    world.sleep(PLAN.gather_seconds)
    assert world.facts(facts.RolledBack) == []
    assert (world.order.step, world.order.contributors) == (2, (1,))
