"""Who is missing: whoever was started or lost, until a step holds a part of his."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.app.attendance import PATIENCE_SECONDS, Attendance
from runtime.events import ActorExited, ActorStarting, Envelope, Event, StepCommitted
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step

FIRST = Incarnation(1)


def tell(attendance: Attendance, *events: Event) -> None:
    for event in events:
        attendance(Envelope(1, 0.0, ActorPath("run"), event))


def starting(name: str) -> ActorStarting:
    return ActorStarting(ActorPath(f"run/{name}"), FIRST)


def exited(rank: int, *, expected: bool = False) -> ActorExited:
    return ActorExited(ActorPath(f"run/node/worker-{rank}"), FIRST, "error", expected=expected)


def committed(*owners: int) -> StepCommitted:
    ranks = tuple(map(Rank, owners))
    return StepCommitted(Step(1), Generation(1), Cursor(0), 2, True, 1.0, 1, 1.0, 0.1, 1.0, owners=ranks)


def complete_run() -> Attendance:
    attendance = Attendance()
    tell(attendance, starting("coordinator"), starting("node/worker-0"), starting("node/worker-1"), committed(0, 1))
    return attendance


async def test_everybody_is_there_once_everybody_has_a_part_in_a_step(autojump_clock: MockClock) -> None:
    attendance = Attendance()
    tell(attendance, starting("node/worker-0"), starting("node/worker-1"), starting("node/worker-1/trainer"))
    assert attendance.missing == {0, 1}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attendance.complete)
        await wait_all_tasks_blocked()
        tell(attendance, committed(0))
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        tell(attendance, committed(0, 1))
    assert not attendance.missing


async def test_a_lost_worker_is_missing_until_its_successor_takes_part(autojump_clock: MockClock) -> None:
    attendance = complete_run()
    await attendance.complete()
    tell(attendance, exited(1))
    assert attendance.missing == {1}
    tell(attendance, starting("node/worker-1"), committed(0))
    assert attendance.missing == {1}
    tell(attendance, committed(0, 1))
    await attendance.complete()


async def test_one_that_was_told_to_go_is_not_missed(autojump_clock: MockClock) -> None:
    attendance = complete_run()
    tell(attendance, exited(1, expected=True))
    assert not attendance.missing


async def test_patience_ends_but_never_before_the_first_step(autojump_clock: MockClock) -> None:
    attendance = Attendance()
    tell(attendance, starting("node/worker-0"), starting("node/worker-1"))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attendance.complete)
        await trio.sleep(10 * PATIENCE_SECONDS + 1)
        tell(attendance, committed(0))
    assert trio.current_time() - began == 11 * PATIENCE_SECONDS + 1
