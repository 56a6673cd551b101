"""Replicas are compared while they compute; one that drifted does not count, and gets the committed state anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import events as facts
from runtime.cluster.drift import compare
from runtime.cluster.inquiry import MOST_SUSPICIONS
from runtime.cluster.messages import Finish, Heal, Holding, Order, Restore, RestorePoint
from runtime.cluster.signals import Phase
from runtime.ids import Cursor, Incarnation, Rank, Step
from tests.unit.cluster.world import PLAN, World, done_of, vote_on

THREE = replace(PLAN, workers=3, steps=20, verify_every=1)
TWO = replace(THREE, workers=2)


def vote(world: World, hashes: Mapping[int, str]) -> None:
    """These workers vote on the step under way, each with the hash of its parameters."""
    order = world.order
    for rank, digest in hashes.items():
        world.say(rank, vote_on(order, rank, parameter_hash=digest))


def agreed(world: World, *ranks: int) -> None:
    """A step on which nobody differs."""
    vote(world, dict.fromkeys(ranks, "good"))


def drifted() -> World:
    """Worker 1 of three turns out to have drifted, in step 2."""
    world = World(THREE).start(0, 1, 2)
    agreed(world, 0, 1, 2)
    vote(world, {0: "good", 1: "bad", 2: "good"})
    return world


def test_the_replicas_are_compared_every_so_many_steps_and_in_the_step_beside_a_checkpoint() -> None:
    world = World(replace(THREE, verify_every=4, checkpoint_every=6, steps=9)).start(0, 1, 2)
    asked = []
    while world.is_in(Phase.STEPPING):
        asked.append((world.order.step, world.order.verify))
        agreed(world, 0, 1, 2)
    assert [step for step, verify in asked if verify] == [4, 7, 8]


def test_nobody_is_compared_with_itself_nor_when_the_check_is_off() -> None:
    assert not World(replace(THREE, workers=1)).start(0).order.verify
    assert not World(replace(THREE, verify_every=0)).start(0, 1, 2).order.verify


def test_equal_replicas_commit_and_the_ledger_has_their_hash() -> None:
    world = World(THREE).start(0, 1, 2)
    agreed(world, 0, 1, 2)
    assert [fact.parameter_hash for fact in world.facts(facts.StepCommitted)] == ["good"]


def test_the_others_compute_a_drifted_workers_shards_in_the_same_step() -> None:
    world = drifted()
    assert len(world.facts(facts.StepCommitted)) == 1
    assert world.facts(facts.ReplicaDrifted) == [facts.ReplicaDrifted(Step(1), Rank(1), Incarnation(1), "bad", "good")]
    assert (world.order.step, world.order.contributors, world.order.receivers) == (2, (0, 2), (0, 1, 2))
    agreed(world, 0, 2)
    assert [fact.step for fact in world.facts(facts.StepCommitted)] == [1, 2]


def test_a_drifted_worker_heals_in_its_session_and_computes_again() -> None:
    world = drifted()
    heal = world.last(1, Heal)
    assert (heal.step, [member.rank for member in heal.sources]) == (1, [0, 2])
    assert world.last(0, Order).hold == (1,)
    agreed(world, 0, 2)
    world.say(1, Holding(Step(1), 0.5, 100, (Rank(0), Rank(2))))
    agreed(world, 0, 2)
    assert world.order.contributors == (0, 1, 2)
    assert (world.closed, world.facts(facts.WorkerLost)) == ([], [])


def drifted_again(world: World, times: int) -> None:
    """Worker 1 of three drifts so often, and gets the others' state each time but the last."""
    for time in range(times):
        vote(world, {0: "good", 1: "bad", 2: "good"})
        agreed(world, 0, 2)
        if time < times - 1:
            world.say(1, Holding(world.last(1, Heal).step, 0.5, 100, (Rank(0), Rank(2))))
            agreed(world, 0, 2)


def test_a_device_that_drifts_a_third_time_leaves_for_good_and_is_not_waited_for() -> None:
    world = World(THREE).start(0, 1, 2)
    drifted_again(world, MOST_SUSPICIONS)
    assert [fact.rank for fact in world.facts(facts.ReplicaDrifted)] == [1, 1, 1]
    assert [(fact.rank, fact.incarnation) for fact in world.facts(facts.WorkerRetired)] == [(1, 1)]
    assert world.last(1, Finish).outcome == "evicted"
    assert world.order.receivers == (0, 2)
    before = world.order.step
    agreed(world, 0, 2)
    assert world.order.step == before + 1


def test_a_device_that_drifts_less_often_stays() -> None:
    world = World(THREE).start(0, 1, 2)
    drifted_again(world, MOST_SUSPICIONS - 1)
    assert world.facts(facts.WorkerRetired) == []


def test_a_drifted_worker_is_not_believed_when_it_joins_anew_before_it_has_healed() -> None:
    world = drifted()
    world.leave(1)
    world.join(1, holds=1, counters=world.core.at.counters)
    agreed(world, 0, 2)
    assert world.last(1, Heal).step == 2
    assert world.order.contributors == (0, 2)


def test_a_newcomer_that_may_have_fetched_from_the_drifted_worker_begins_anew() -> None:
    world = World(replace(THREE, workers=4)).start(0, 1, 2, 3)
    agreed(world, 0, 1, 2, 3)
    world.leave(3)
    world.join(3, incarnation=2)
    agreed(world, 0, 1, 2)
    vote(world, {0: "good", 1: "bad", 2: "good"})
    assert world.closed == [world.sessions[3]]
    world.join(3, incarnation=2, holds=2, counters=world.core.at.counters)
    assert world.order.contributors == (0, 2)
    agreed(world, 0, 2)
    assert world.last(3, Heal).step == 3


def saved_twice() -> World:
    """Two workers with checkpoints of steps 2 and 4, both by worker 0; the state after step 3 was the last compared."""
    world = World(replace(TWO, verify_every=3, checkpoint_every=2)).start(0, 1)
    for _ in range(4):
        agreed(world, 0, 1)
        if world.saves(0) is not None:
            world.saved(0)
    assert [point.step for point in world.core.saves.points] == [4, 2, 0]
    return world


def test_two_that_differ_go_back_to_the_newest_checkpoint_that_was_agreed_on() -> None:
    world = saved_twice()
    vote(world, {0: "one", 1: "two"})
    assert [(fact.from_step, fact.to_step) for fact in world.facts(facts.RolledBack)] == [(4, 2)]
    assert [world.last(rank, Restore).path for rank in (0, 1)] == ["step-2", "step-2"]
    assert [(fact.rank, fact.expected_hash) for fact in world.facts(facts.ReplicaDrifted)] == [(0, ""), (1, "")]
    before = world.core.roster.generation
    for rank in (0, 1):
        world.say(rank, Holding(Step(2), 0.1, 10))
    assert (world.order.step, world.order.generation) == (3, before + 1)


def test_a_checkpoint_that_a_drifted_worker_has_a_share_in_is_not_used() -> None:
    world = World(replace(THREE, checkpoint_every=2)).start(0, 1, 2)
    agreed(world, 0, 1, 2)
    agreed(world, 0, 1, 2)
    first = world.ordered(0)
    vote(world, {0: "good", 1: "bad", 2: "good"})
    assert first.save is not None
    world.say(0, done_of(2, first.save.attempt))
    assert [point.step for point in world.core.saves.points] == [0]
    second = world.saves(0)
    assert second is not None
    assert second.writers == (0, 2)
    world.saved(0)
    assert [point.step for point in world.core.saves.points] == [2, 0]


def test_a_checkpoint_of_other_parameters_than_those_that_were_agreed_on_is_rejected() -> None:
    world = World(replace(THREE, checkpoint_every=2)).start(0, 1, 2)
    for _ in range(3):
        agreed(world, 0, 1, 2)
    world.saved(0, parameter_hash="bad")
    assert [fact.path for fact in world.facts(facts.CheckpointRejected)] == ["step-2"]
    assert [point.step for point in world.core.saves.points] == [0]
    agreed(world, 0, 1, 2)
    assert world.saves(0) is not None


def test_a_rollback_without_any_checkpoint_begins_anew_and_sends_newcomers_home() -> None:
    world = World(replace(TWO, workers=3), RestorePoint(Step(0), Cursor(0), "")).start(0, 1, 2)
    agreed(world, 0, 1, 2)
    world.leave(2)
    world.join(2, incarnation=2)
    agreed(world, 0, 1)
    vote(world, {0: "one", 1: "two"})
    assert world.closed == [world.sessions[2]]
    assert world.last(0, Restore).step == 0


@pytest.mark.parametrize("kinds", [("cpu", "metal"), ("cpu", "cuda")])
def test_devices_of_different_kinds_are_not_compared(kinds: tuple[str, str]) -> None:
    opinion = compare({Rank(0): "a", Rank(1): "b"}, dict(zip((Rank(0), Rank(1)), kinds, strict=True)))
    assert (opinion.drifted, opinion.undecided) == ({}, ())


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=7))
def test_more_than_half_are_right_and_otherwise_nobody_is(found: list[str]) -> None:
    hashes = {Rank(rank): digest for rank, digest in enumerate(found)}
    opinion = compare(hashes, dict.fromkeys(hashes, "cpu"))
    most = max(set(found), key=found.count)
    if 2 * found.count(most) > len(found):
        assert opinion.undecided == ()
        assert opinion.drifted == {rank: most for rank, digest in hashes.items() if digest != most}
    else:
        assert (opinion.undecided, opinion.drifted) == (tuple(hashes), {})
