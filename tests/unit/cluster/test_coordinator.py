"""The coordinator's shell and a worker's session, over the in-memory network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from mlxd_wire import cluster_pb2 as pb
from trio.testing import MockClock

from runtime import events as facts
from runtime.cluster.coordinator import OUTBOX, Coordinator
from runtime.cluster.core import Core
from runtime.cluster.messages import Finish, Holding, Join, Order, Progress, Refused, Restore, StepWork
from runtime.cluster.session import PATH, Session, open_session
from runtime.cluster.signals import Finished
from runtime.errors import PeerLost
from runtime.rpc import CallFailed, Channel, LoopbackNetwork
from runtime.rpc.pipe import MAX_MESSAGES
from tests.unit.cluster.world import DISK, PLAN, announce, done_of, join_of, vote_on

ALONE = replace(PLAN, workers=1, steps=1)
ADDRESS = "127.0.0.1:4000"


@dataclass
class Room:
    """A coordinator that serves, and what it published."""

    core: Core
    published: list[facts.Event] = field(default_factory=list)
    ended: list[Finished] = field(default_factory=list)
    settling: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.settling.set()
        self.coordinator = Coordinator(self.core, "demo", self.published.append, self.settled, self.ended.append)

    async def settled(self) -> None:
        await self.settling.wait()


@asynccontextmanager
async def serving(plan: Any = ALONE) -> AsyncIterator[tuple[Room, Channel]]:
    network = LoopbackNetwork()
    room = Room(Core(plan, DISK, lambda update, last: 0.1, announce))
    async with network.serve([room.coordinator.service], ADDRESS, name="coordinator"):
        async with network.connect(ADDRESS, name="worker") as channel:
            yield room, channel


async def hear(session: Session, kind: type[Any]) -> Any:
    message = await session.hear()
    assert isinstance(message, kind), message
    return message


async def first_step(session: Session) -> StepWork:
    restore = await hear(session, Restore)
    await session.say(Holding(restore.step, 0.1, 10))
    work = (await hear(session, Order)).work
    assert isinstance(work, StepWork)
    return work


async def test_a_run_of_one_step_from_join_to_finish(autojump_clock: MockClock) -> None:
    async with serving() as (room, channel), trio.open_nursery() as nursery:
        end: list[Finished] = []

        async def run() -> None:
            end.append(await room.coordinator.run())

        nursery.start_soon(run)
        async with open_session(channel, join_of(0)) as session:
            work = await first_step(session)
            await session.say(Progress(1, "vote", 0.0))
            await session.say(vote_on(work.order, 0))
            order = await hear(session, Order)
            assert order.save is not None
            await session.say(done_of(order.state, order.save.attempt))
            assert (await hear(session, Finish)).outcome == "done"
            session.leave()
            with pytest.raises(PeerLost, match="closed the session"):
                await session.hear()
    assert end == room.ended == [Finished("done", "")]
    assert [type(fact).__name__ for fact in room.published if isinstance(fact, facts.StepCommitted)] == [
        "StepCommitted"
    ]


async def test_no_order_leaves_before_the_facts_are_settled(autojump_clock: MockClock) -> None:
    async with serving() as (room, channel):
        room.settling = trio.Event()
        async with open_session(channel, join_of(0)) as session:
            with trio.move_on_after(10):
                await session.hear()
                raise AssertionError("it came too early")
            assert room.published
            room.settling.set()
            await hear(session, Restore)


async def test_timers_of_the_core_ring(autojump_clock: MockClock) -> None:
    async with serving(replace(ALONE, wait_seconds=60.0)) as (room, channel), trio.open_nursery() as nursery:
        nursery.start_soon(room.coordinator.run)
        async with open_session(channel, join_of(0)) as session:
            await first_step(session)
    assert [end.outcome for end in room.ended] == ["gave_up"]
    assert trio.current_time() >= 60.0


async def test_a_stop_ends_the_run(autojump_clock: MockClock) -> None:
    async with serving() as (room, _):
        room.coordinator.stop("Ctrl-C")
        assert (await room.coordinator.run()).outcome == "stopped"


async def test_the_goodbye_is_bounded(autojump_clock: MockClock) -> None:
    async with serving() as (room, channel), open_session(channel, join_of(0)) as session:
        await hear(session, Restore)
        room.coordinator.stop("Ctrl-C")
        await room.coordinator.run(goodbye_seconds=5.0)
        assert trio.current_time() == pytest.approx(5.0)


async def test_a_worker_of_another_run_is_refused(autojump_clock: MockClock) -> None:
    async with serving() as (_, channel), open_session(channel, join_of(0, run="other")) as session:
        assert (await hear(session, Refused)).reason == "this coordinator runs demo, not other"


async def test_a_session_begins_with_join(autojump_clock: MockClock) -> None:
    async with serving() as (_, channel), channel.stream(PATH, pb.ToWorker) as stream:
        await stream.send(pb.FromWorker(progress=pb.Progress()))
        with pytest.raises(CallFailed, match="begins with Join"):
            await stream.receive()


async def test_a_session_without_a_word_is_refused(autojump_clock: MockClock) -> None:
    async with serving() as (_, channel), channel.stream(PATH, pb.ToWorker) as stream:
        stream.done_sending()
        with pytest.raises(CallFailed, match="begins with Join"):
            await stream.receive()


async def test_a_worker_whose_connection_breaks_is_lost(autojump_clock: MockClock) -> None:
    async with serving() as (room, channel):
        async with open_session(channel, join_of(0)) as session:
            await hear(session, Restore)
        await trio.testing.wait_all_tasks_blocked()
        assert [fact.reason for fact in room.published if isinstance(fact, facts.WorkerLost)] == [
            "its process or connection ended"
        ]


async def test_a_worker_that_does_not_read_its_orders_loses_its_session(autojump_clock: MockClock) -> None:
    async with serving(replace(PLAN, workers=2)) as (room, channel):
        async with open_session(channel, join_of(0)), open_session(channel, join_of(1)) as reader:
            await trio.testing.wait_all_tasks_blocked()
            await hear(reader, Restore)
            for _ in range(OUTBOX + MAX_MESSAGES + 2):
                room.coordinator._tell(1, Refused("unread"))
            await trio.testing.wait_all_tasks_blocked()
            assert [fact.reason for fact in room.published if isinstance(fact, facts.WorkerLost)] == [
                "the coordinator ended its session"
            ]


async def test_what_is_said_to_a_session_that_is_gone_is_dropped(autojump_clock: MockClock) -> None:
    async with serving() as (room, _):
        room.coordinator._tell(99, Refused("nobody"))
        assert room.published == []


def test_a_join_is_complete() -> None:
    assert isinstance(join_of(0), Join)
