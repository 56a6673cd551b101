"""The coordinator's desk: a fact and what follows from it are one frame, and no order leaves before they are safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import trio
from trio.testing import wait_all_tasks_blocked

from runtime import events as facts
from runtime.actors import Fact, Report
from runtime.app.desk import Desk
from runtime.app.positions import point_from_json, position_from_json
from runtime.app.words import FINISHED, POINT, POSITION
from runtime.cluster.signals import Phase
from runtime.events import to_json
from runtime.ids import Step
from tests.support.wires import Wires, wires
from tests.unit.cluster.world import PLAN, World

SAVES_EACH_STEP = replace(PLAN, checkpoint_every=1)


@contextmanager
def desk_of(world: World) -> Iterator[tuple[Desk, Wires]]:
    with wires() as at:
        yield Desk(at.parent, world.core), at


async def test_a_committed_step_and_its_position_are_one_frame() -> None:
    world = World().start()
    world.vote()
    (committed,) = world.facts(facts.StepCommitted)
    with desk_of(world) as (desk, at):
        desk.publish(committed)
        (frame,) = at.frames()
    assert isinstance(frame, Fact)
    assert frame.event == to_json(committed)
    assert position_from_json(frame.reports[POSITION]) == world.core.at


async def test_a_checkpoint_and_the_point_that_it_makes_are_one_frame() -> None:
    world = World(SAVES_EACH_STEP).start()
    world.vote()
    world.saved(0)
    (written,) = world.facts(facts.CheckpointWritten)
    with desk_of(world) as (desk, at):
        desk.publish(written)
        (frame,) = at.frames()
    assert isinstance(frame, Fact)
    assert point_from_json(frame.reports[POINT]) == world.core.saves.newest


async def test_other_facts_travel_alone() -> None:
    with desk_of(World()) as (desk, at):
        desk.publish(facts.Warned("disk", "slow"))
        (frame,) = at.frames()
    assert isinstance(frame, Fact)
    assert frame.reports == {}


async def test_the_end_is_told_before_any_worker_hears_of_it() -> None:
    world = World().start()
    world.stop()
    while world.ended is None:
        world.vote() if world.is_in(Phase.STEPPING) else world.saved(0)
    with desk_of(world) as (desk, at):
        desk.ended(world.ended)
        step = world.core.at.step
        assert at.frames() == [Report(FINISHED, {"outcome": "stopped", "reason": "Ctrl-C", "step": step})]


async def test_an_order_to_save_waits_until_the_root_has_written_down_what_is_saved() -> None:
    left: list[str] = []

    async def order(desk: Desk, words: str) -> None:
        await desk.settled()
        left.append(words)

    with desk_of(World()) as (desk, at), trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.parent._outbox.run)
            desk.publish(facts.Warned("disk", "slow"))
            await order(desk, "step 4")
            desk.publish(facts.CheckpointStarted(Step(4)))
            nursery.start_soon(order, desk, "save step 4")
            await wait_all_tasks_blocked()
            assert left == ["step 4"]
            desk.journaled()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert left == ["step 4", "save step 4"]
