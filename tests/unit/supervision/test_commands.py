"""What a person or a detector may order of a running supervisor, and the picture of its tree; in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from runtime.actors import Context
from runtime.errors import ActorDown, GaveUp
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
    Supervisor,
    SupervisorSpec,
    draw,
    supervise,
)
from tests.support.supervision_bodies import Diary, cannot_start, fails, good, stubborn, supervisor


async def test_the_tree_can_be_ended_in_a_hurry(autojump_clock: MockClock) -> None:
    diary = Diary()
    root = supervisor({"a": stubborn, "b": stubborn}, child={"shutdown_seconds": 60.0})
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "b")
        root.end()
        await trio.sleep(2)
        root.end(hurry=True)
    assert trio.current_time() - began == 2
    assert [(event.path, event.grace_seconds) for event in diary.all(Stopping)] == [
        ("run/b", 60.0),
        ("run/b", 0.0),
        ("run/a", 0.0),
    ]


async def test_a_hung_child_is_replaced_and_counted(autojump_clock: MockClock) -> None:
    diary = Diary()
    root = supervisor({"a": stubborn}, child={"shutdown_seconds": 60.0})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "a")
        root.suspect("a", 1, "step 7 for 90 s")
        await diary.wait_for(Ready, "a", 2)
        root.suspect("a", 1, "late news")
        await trio.sleep(5)
        view = root.view()
        assert view is not None
        assert (view.restarts_left, view.children[0].incarnation) == (2, 2)
        nursery.cancel_scope.cancel()
    assert [plan.reason for plan in diary.all(RestartPlanned)] == ["step 7 for 90 s"]
    ends = [(end.exit.kind, end.exit.detail, end.asked) for end in diary.all(Exited)]
    assert ends == [("hung", "step 7 for 90 s", False), ("killed", "cancelled", True)]


async def test_children_come_and_go_by_command(autojump_clock: MockClock) -> None:
    diary = Diary()
    root = supervisor({"a": good})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "a")
        await root.add(ChildSpec("b", good))
        assert root.ref("b").is_up
        with pytest.raises(ValueError, match="run already has a child 'b'"):
            await root.add(ChildSpec("b", good))
        await root.restart("b")
        assert root.ref("b").incarnation == 2
        await root.stop("b")
        assert not root.ref("b").is_up
        await root.restart("b")
        await root.remove("b")
        with pytest.raises(KeyError):
            await root.stop("b")
        await root.add(ChildSpec("b", good))
        assert root.ref("b").incarnation == 4
        with pytest.raises(GaveUp, match="run/c could not start: RuntimeError: no such device"):
            await root.add(ChildSpec("c", cannot_start(1)))
        await root.add(ChildSpec("t", good, Restart.TEMPORARY))
        with pytest.raises(ValueError, match="run/t is temporary"):
            await root.restart("t")
        nursery.cancel_scope.cancel()
    assert diary.all(RestartPlanned) == []
    assert diary.all(GivingUp) == []


async def test_commands_of_a_supervisor_that_ends_meanwhile_fail(autojump_clock: MockClock) -> None:
    diary = Diary()
    root = supervisor({"a": stubborn}, child={"shutdown_seconds": 60.0})
    refused = []

    async def expect(command: Awaitable[None], error: type[Exception]) -> None:
        with pytest.raises(error) as caught:
            await command
        refused.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "a")
        nursery.start_soon(expect, root.restart("a"), ActorDown)
        nursery.start_soon(expect, root.add(ChildSpec("b", cannot_start(100))), GaveUp)
        await trio.sleep(1)
        root.end()
    assert sorted(refused) == [
        "run ended before a was up again",
        "run/b could not start: stopped before it was ready",
    ]


async def test_a_supervisor_that_does_not_run_says_so() -> None:
    root = supervisor({"a": good})
    assert root.view() is None
    with pytest.raises(ActorDown, match="does not run"):
        root.end()
    assert not root.ref("a").is_up
    with pytest.raises(KeyError, match="no child is called 'x'"):
        root.ref("x")


async def test_one_supervisor_has_one_life_at_a_time(autojump_clock: MockClock) -> None:
    root = supervisor({"a": good})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=Diary()))
        await wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="already runs as run"):
            await supervise(root, path="again", emit=Diary())
        nursery.cancel_scope.cancel()


async def test_actors_publish_through_the_same_way_as_supervisors(autojump_clock: MockClock) -> None:
    async def work(ctx: Context[Any]) -> None:
        ctx.ready()
        ctx.emit("half way")
        ctx.progress(5)
        await ctx.stopping.wait()

    diary = Diary()
    root = supervisor({"inner": supervisor({"job": work})})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Ready, "inner")
        view = root.view()
        assert view is not None
        assert [(node.path, node.progress) for node in view.walk()] == [
            ("run", None),
            ("run/inner", None),
            ("run/inner/job", 5),
        ]
        nursery.cancel_scope.cancel()
    assert "half way" in diary.events


async def test_the_picture_shows_who_waits_who_runs_and_who_failed(autojump_clock: MockClock) -> None:
    diary = Diary()
    inner = supervisor({"b": fails(1), "c": good, "d": good, "e": stubborn}, strategy=Strategy.ONE_FOR_ONE)
    quick = ChildSpec("quick", fails(0), Restart.TEMPORARY)
    root = Supervisor(SupervisorSpec((ChildSpec("node", inner), quick, ChildSpec("late", cannot_start(100)))))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=diary))
        await diary.wait_for(Starting, "late")
        await diary.wait_for(Exited, "quick")
        await wait_all_tasks_blocked()  # told at once, handled in the supervisor's next turn
        early = root.view()
        await diary.wait_for(RestartPlanned, "b")
        await inner.stop("d")
        nursery.start_soon(inner.stop, "e")
        await wait_all_tasks_blocked()
        view = root.view()
        nursery.cancel_scope.cancel()
    assert early is not None
    assert view is not None
    assert [child.state for child in early.children] == ["running", "ended", "starting"]
    assert draw(view) == "\n".join(
        [
            "run starting (3 restarts left)",
            "├─ node running (2 restarts left)",
            "│  ├─ b restarting - ValueError: after 1 s",
            "│  ├─ c running",
            "│  ├─ d stopped - finished",
            "│  └─ e stopping",
            "├─ quick ended - ValueError: after 0 s",
            "└─ late starting",
        ]
    )


async def test_a_child_that_waits_for_its_turn_is_shown_so(autojump_clock: MockClock) -> None:
    root = supervisor({"a": cannot_start(10), "b": good})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: supervise(root, path="run", emit=Diary()))
        await wait_all_tasks_blocked()
        view = root.view()
        assert view is not None
        assert [(child.name, child.state) for child in view.children] == [("a", "starting"), ("b", "waiting")]
        root.end()
        await wait_all_tasks_blocked()
        view = root.view()
        assert view is not None
        assert view.state == "stopping"
        nursery.cancel_scope.cancel()
