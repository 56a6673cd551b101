"""The trio shell: order, graces, handshake, nesting, giving up; all in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.actors import Address, Context
from runtime.errors import GaveUp
from runtime.ids import ActorPath, Incarnation
from runtime.supervision import (
    ChildSpec,
    Exited,
    GivingUp,
    Ready,
    Restart,
    RestartPlanned,
    Starting,
    Stopping,
    Strategy,
    Stuck,
    Supervisor,
    SupervisorSpec,
    supervise,
)
from tests.support.supervision_bodies import Diary, cannot_start, fails, good, ready_after, stubborn, supervisor


async def test_children_start_in_order_and_a_cancel_stops_them_in_reverse(autojump_clock: MockClock) -> None:
    diary = Diary()
    began = trio.current_time()
    with trio.move_on_after(50) as scope:
        await supervise(supervisor(dict.fromkeys("abc", good)), path="run", emit=diary)
    assert scope.cancelled_caught
    assert trio.current_time() - began == 50
    assert diary.names(Starting) == diary.names(Ready) == ["a", "b", "c"]
    assert diary.names(Stopping) == diary.names(Exited) == ["c", "b", "a"]
    assert all(event.asked and event.exit.ok for event in diary.all(Exited))


async def test_each_child_has_its_own_grace_one_after_the_other(autojump_clock: MockClock) -> None:
    diary = Diary()
    bodies = {"a": good, "b": stubborn, "c": stubborn}
    began = trio.current_time()
    with trio.move_on_after(10):
        await supervise(supervisor(bodies, child={"shutdown_seconds": 3.0}), path="run", emit=diary)
    assert trio.current_time() - began == pytest.approx(16)
    assert [(event.exit.kind, event.exit.ok) for event in diary.all(Exited)] == [
        ("killed", False),
        ("killed", False),
        ("normal", True),
    ]


async def test_an_actor_that_is_asked_to_stop_drains_its_inbox(autojump_clock: MockClock) -> None:
    address: Address[int] = Address("writer")
    seen: list[int] = []

    async def writer(ctx: Context[int]) -> None:
        ctx.ready()
        async for number in ctx.inbox:
            await trio.sleep(1)
            seen.append(number)

    root = Supervisor(SupervisorSpec((ChildSpec("writer", writer, address=address, shutdown_seconds=60),)))
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: supervise(root, path="run", emit=Diary()))
            await address.ref.wait_up()
            for number in range(30):
                await address.ref.tell(number)
    assert seen == list(range(30))
    assert address.ref.path == "run/writer"


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(Strategy.ONE_FOR_ONE, ["b"]), (Strategy.REST_FOR_ONE, ["b", "c"]), (Strategy.ONE_FOR_ALL, ["a", "b", "c"])],
)
async def test_the_strategy_decides_who_is_restarted(
    strategy: Strategy, expected: list[str], autojump_clock: MockClock
) -> None:
    diary = Diary()
    with trio.move_on_after(20):
        await supervise(supervisor({"a": good, "b": fails(5), "c": good}, strategy=strategy), path="run", emit=diary)
    assert diary.names(Starting)[3:] == expected


async def test_delays_double_and_the_failure_beyond_the_limit_is_loud(autojump_clock: MockClock) -> None:
    diary = Diary()
    with pytest.raises(GaveUp, match=r"run/a failed: ValueError: after 0 s; that is failure 5 within 60 s") as gave_up:
        await supervise(supervisor({"a": fails(0, 0, 0, 0, 0), "b": good}, intensity=4), path="run", emit=diary)
    assert [(plan.attempt, plan.delay_seconds, plan.left) for plan in diary.all(RestartPlanned)] == [
        (1, 1.0, 3),
        (2, 2.0, 2),
        (3, 4.0, 1),
        (4, 8.0, 0),
    ]
    assert gave_up.value.path == "run/a"
    assert "raise error" in gave_up.value.tail
    assert isinstance(gave_up.value.__cause__, ValueError)
    assert diary.all(GivingUp) == [
        GivingUp(ActorPath("run"), ActorPath("run/a"), str(gave_up.value), gave_up.value.tail)
    ]
    assert diary.names(Exited)[-1] == "b"


async def test_a_child_that_cannot_start_is_no_crash_loop(autojump_clock: MockClock) -> None:
    diary = Diary()
    with pytest.raises(GaveUp, match="run/b could not start: RuntimeError: no such device"):
        await supervise(supervisor({"a": good, "b": cannot_start(3)}), path="run", emit=diary)
    assert diary.names(Starting) == ["a", "b"]
    assert diary.names(Exited) == ["b", "a"]


async def test_a_child_that_returns_before_it_was_ready_could_not_start(autojump_clock: MockClock) -> None:
    async def forgets(ctx: Context[Any]) -> None: ...

    with pytest.raises(GaveUp, match="run/a could not start: returned before it was ready"):
        await supervise(supervisor({"a": forgets}), path="run", emit=Diary())


async def test_a_child_that_is_not_ready_in_time_could_not_start(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(GaveUp, match="run/a could not start: not ready within 7 s"):
        await supervise(supervisor({"a": cannot_start(100)}, child={"start_seconds": 7.0}), path="run", emit=Diary())
    assert trio.current_time() - began == pytest.approx(7)


async def test_a_supervisor_that_cannot_start_is_stopped_while_it_tries(autojump_clock: MockClock) -> None:
    async def slow(ctx: Context[Any]) -> None:
        await trio.sleep(20)
        ctx.ready()

    diary = Diary()
    with trio.move_on_after(5):
        await supervise(supervisor({"a": good, "b": slow, "c": good}), path="run", emit=diary)
    assert diary.names(Starting) == ["a", "b"]
    assert diary.names(Exited) == ["b", "a"]


async def test_a_fatal_failure_ends_everything_at_once(autojump_clock: MockClock) -> None:
    diary = Diary()
    with pytest.raises(GaveUp, match="run/b failed in a way that no restart cures: ImportError: after 2 s"):
        await supervise(
            supervisor({"a": good, "b": fails(2, error=ImportError)}, child={"fatal": (ImportError,)}),
            path="run",
            emit=diary,
        )
    assert diary.all(RestartPlanned) == []


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_child_ends_the_tree_in_order_and_comes_out(
    interrupt: type[BaseException], autojump_clock: MockClock
) -> None:
    diary = Diary()
    inner = supervisor({"b": good, "c": fails(2, error=interrupt), "d": good})
    with pytest.raises(interrupt, match="after 2 s"):
        await supervise(supervisor({"a": good, "inner": inner}), path="run", emit=diary)
    assert diary.names(Exited) == ["c", "d", "b", "inner", "a"]
    assert diary.all(RestartPlanned) == []


async def test_a_significant_child_that_is_done_ends_the_tree_well(autojump_clock: MockClock) -> None:
    async def work(ctx: Context[Any]) -> None:
        ctx.ready("42 steps")
        await trio.sleep(3)

    diary = Diary()
    job = ChildSpec("job", work, Restart.TRANSIENT, significant=True)
    await supervise(Supervisor(SupervisorSpec((ChildSpec("a", good), job))), path="run", emit=diary)
    assert diary.names(Exited) == ["job", "a"]
    assert [event.value for event in diary.all(Ready)] == [None, "42 steps"]


async def test_a_temporary_significant_child_that_failed_is_named(autojump_clock: MockClock) -> None:
    job = ChildSpec("job", fails(1), Restart.TEMPORARY, significant=True)
    with pytest.raises(GaveUp, match="run/job ended: ValueError: after 1 s"):
        await supervise(Supervisor(SupervisorSpec((job,))), path="run", emit=Diary())


async def test_a_stuck_child_is_reported_and_waited_for(autojump_clock: MockClock) -> None:
    async def shielded(ctx: Context[Any]) -> None:
        ctx.ready()
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    diary = Diary()
    began = trio.current_time()
    with trio.move_on_after(1):
        await supervise(supervisor({"a": shielded}), path="run", emit=diary)
    assert trio.current_time() - began == 100
    assert diary.all(Stuck) == [Stuck(ActorPath("run/a"), Incarnation(1), 5.0)]
    assert diary.all(Exited)[0].asked


async def test_a_stop_from_above_is_ordered_all_the_way_down(autojump_clock: MockClock) -> None:
    diary = Diary()
    inner = supervisor({"b": good, "c": good})
    with trio.move_on_after(5):
        await supervise(supervisor({"a": good, "inner": inner, "d": good}), path="run", emit=diary)
    assert diary.names(Exited) == ["d", "c", "b", "inner", "a"]
    assert [event.path for event in diary.all(Ready)] == [
        "run/a",
        "run/inner/b",
        "run/inner/c",
        "run/inner",
        "run/d",
    ]


async def test_an_inner_supervisor_that_gives_up_is_restarted_by_the_outer_one(autojump_clock: MockClock) -> None:
    diary = Diary()
    inner = supervisor({"b": fails(1, 1)}, intensity=1)
    with trio.move_on_after(30):
        await supervise(supervisor({"inner": inner}), path="run", emit=diary)
    assert diary.names(Starting) == ["inner", "b", "b", "inner", "b"]
    assert [event.incarnation for event in diary.all(Starting) if event.path == "run/inner/b"] == [1, 2, 3]


async def test_the_innermost_culprit_is_named_when_all_give_up(autojump_clock: MockClock) -> None:
    middle = supervisor({"inner": supervisor({"b": cannot_start()})})
    with pytest.raises(GaveUp) as gave_up:
        await supervise(supervisor({"middle": middle}), path="run", emit=Diary())
    assert str(gave_up.value) == "run/middle/inner/b could not start: RuntimeError: no such device"
    assert gave_up.value.path == "run/middle/inner/b"
    assert "no such device" in gave_up.value.tail


async def test_a_cause_is_said_once_however_deep_it_lies(autojump_clock: MockClock) -> None:
    diary = Diary()
    node = ChildSpec("node", supervisor({"b": fails(1)}, intensity=0), Restart.TEMPORARY, significant=True)
    with pytest.raises(GaveUp) as gave_up:
        await supervise(Supervisor(SupervisorSpec((node,))), path="run", emit=diary)
    (said,) = diary.all(GivingUp)
    assert (said.path, said.culprit, said.reason) == ("run/node", "run/node/b", str(gave_up.value))


async def test_children_that_start_together_wait_for_nobody_and_stop_in_reverse(autojump_clock: MockClock) -> None:
    diary = Diary()
    slow = ChildSpec("slow", ready_after(3.0))
    root = Supervisor(SupervisorSpec((slow, ChildSpec("b", good), ChildSpec("c", good)), start="together"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "slow")
        root.end()
    assert sorted(diary.names(Ready)[:2]) == ["b", "c"]  # nobody waited for the slow one; trio runs them in any order
    assert diary.names(Stopping) == ["c", "b", "slow"]


async def test_children_that_cannot_start_in_the_same_moment_end_the_run_with_the_words_of_one_of_them() -> None:
    async def no_library(ctx: Context[Any]) -> None:
        raise OSError("no library")

    children = tuple(ChildSpec(name, no_library) for name in ("a", "b", "c"))
    with pytest.raises(GaveUp, match="could not start: OSError: no library"):
        await supervise(Supervisor(SupervisorSpec(children, start="together")), path="run", emit=Diary())


async def test_a_second_cancel_from_above_takes_the_graces_away(autojump_clock: MockClock) -> None:
    inner = Supervisor(SupervisorSpec((ChildSpec("b", stubborn, shutdown_seconds=50),)))
    ctx: Context[Any] = Context("run/inner")
    began = trio.current_time()
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner, ctx)
            await wait_all_tasks_blocked()
            ctx.ask_stop()
    assert trio.current_time() - began == 10


async def test_a_broken_listener_leaves_no_child_behind(autojump_clock: MockClock) -> None:
    ended = []

    async def watched(ctx: Context[Any]) -> None:
        try:
            ctx.ready()
            await trio.sleep_forever()
        finally:
            ended.append(ctx.path)

    def broken(event: object) -> None:
        if isinstance(event, Starting) and event.path == "run/b":
            raise OSError("the journal is gone")

    with pytest.raises(ExceptionGroup) as caught:
        await supervise(supervisor({"a": watched, "b": watched}), path="run", emit=broken)
    assert caught.group_contains(OSError, match="the journal is gone")
    assert ended == ["run/a"]
