"""Workers on other machines: they neither read nor write checkpoints, and everything else they do as all others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runtime.cluster.gathering import roll_back
from runtime.cluster.messages import Heal, Holding, Order, Restore, RestorePoint
from runtime.cluster.signals import Phase, Send
from runtime.ids import Cursor, Rank, Step
from tests.unit.cluster.world import PLAN, World

DISK = RestorePoint(Step(1), Cursor(8), "step-1", {"applied": 1})
AWAY = {"is_away": True}
SAVES = replace(PLAN, checkpoint_every=1)


def both(**core: Any) -> World:
    """Worker 0 here, worker 1 on another machine."""
    world = World(**core)
    world.join(0)
    world.join(1, **AWAY)
    return world


def restored(world: World, rank: int = 0) -> None:
    world.say(rank, Holding(world.core.at.step, 0.1, 10))


def healed(world: World, rank: int) -> None:
    world.say(rank, Holding(world.core.at.step, 0.1, 10, (Rank(0),)))


def test_of_a_checkpoint_the_worker_elsewhere_is_healed_by_one_that_could_read_it() -> None:
    world = both(point=DISK)
    assert world.last(0, Restore).path == "step-1"
    assert world.sessions[1] not in world.told
    restored(world)
    assert world.order.owners == (0, 0, 0, 0)
    assert world.order.receivers == (0, 1)
    heal = world.last(1, Heal)
    assert (heal.step, [source.rank for source in heal.sources]) == (1, [0])


def test_the_initial_model_is_made_by_everybody() -> None:
    world = both()
    assert [world.last(rank, Restore).path for rank in (0, 1)] == ["", ""]


def test_a_run_goes_on_without_its_own_machine_and_saves_when_that_is_back() -> None:
    world = both(plan=SAVES)
    world.restore()
    world.leave(0)
    world.vote(1)
    assert world.last(1, Order).save is None
    assert world.is_in(Phase.STEPPING)
    world.join(0, incarnation=2)
    world.vote(1)
    healed(world, 0)
    world.vote(1)
    save = world.last(0, Order).save
    assert save is not None
    assert save.writers == (0,)


def test_the_last_checkpoint_waits_for_somebody_who_reaches_the_disk() -> None:
    world = both(plan=replace(PLAN, steps=1))
    world.restore()
    world.leave(0)
    world.vote(1)
    assert world.is_in(Phase.CLOSING)
    assert world.last(1, Order).save is None
    world.join(0, incarnation=2)
    assert world.last(0, Heal).step == 1
    healed(world, 0)
    save = world.last(0, Order).save
    assert save is not None
    assert save.writers == (0,)
    world.saved(0)
    assert world.ended is not None
    assert world.ended.outcome == "done"


def test_nobody_comes_who_could_write_the_last_checkpoint() -> None:
    world = both(plan=replace(PLAN, steps=1, wait_seconds=60.0))
    world.restore()
    world.leave(0)
    world.vote(1)
    world.sleep(59.0)
    assert world.ended is None
    world.sleep(1.0)
    assert world.ended is not None
    assert (world.ended.outcome, world.ended.reason) == ("gave_up", "no worker came back within 60 s")


def test_where_nobody_left_can_read_the_checkpoint_one_is_waited_for() -> None:
    world = World(point=DISK, generation=4, after=None)
    world.join(1, **AWAY)
    world.sleep(PLAN.gather_seconds)
    assert world.is_in(Phase.GATHERING)
    assert world.sessions[1] not in world.told
    world.join(0)
    assert world.is_in(Phase.RESTORING)
    restored(world)
    assert world.last(1, Heal).step == 1


def test_after_a_rollback_the_worker_elsewhere_gets_the_older_state_from_a_peer() -> None:
    world = both(point=DISK)
    restored(world)
    healed(world, 1)
    world.vote()
    assert world.core.roster.active == (0, 1)
    book = world.core.book
    book.out = []
    roll_back(book, "nobody's state can be believed")
    assert [each.session for each in book.out if isinstance(each, Send)] == [world.sessions[0]]
    restored(world)
    assert world.core.at.step == 1
    assert world.last(1, Heal).step == 1
    assert world.order.receivers == (0, 1)


def test_a_rollback_without_anybody_who_can_read_the_checkpoint_waits_for_one() -> None:
    world = both(point=DISK)
    restored(world)
    healed(world, 1)
    world.vote()
    world.leave(0)
    roll_back(world.core.book, "nobody's state can be believed")
    assert world.is_in(Phase.GATHERING)
    world.join(0, incarnation=2)
    restored(world)
    assert world.last(1, Heal).step == 1
