"""One worker more, one less: which rank, and when not; with a real supervisor and actors instead of processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from runtime import events as facts
from runtime.app.attendance import Attendance
from runtime.app.crew import Crew, Refusal
from runtime.app.root import Briefing, Root
from runtime.cluster.detector import HangDetector
from runtime.errors import GaveUp
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from runtime.supervision import ChildSpec, Restart, Supervisor, SupervisorSpec, supervise
from tests.support.journal import read_journal
from tests.support.supervision_bodies import cannot_start, good


def worker(rank: int, body: Any = good) -> ChildSpec:
    return ChildSpec(f"worker-{rank}", body, Restart.TRANSIENT)


def committed(*owners: int) -> facts.StepCommitted:
    ranks = tuple(map(Rank, owners))
    return facts.StepCommitted(Step(1), Generation(1), Cursor(0), 2, True, 1.0, 1, 1.0, 0.1, 1.0, owners=ranks)


@asynccontextmanager
async def crew_of(folder: Path, workers: int, *, body: Any = good, most: int = 4) -> AsyncIterator[Crew]:
    """A crew that trains."""
    journal = Journal(folder / "events.jsonl")
    root = Root(journaled_bus(journal), journal, Briefing("id", "t", workers, "h", "v", "c", {}), HangDetector(6, 20))
    node = Supervisor(SupervisorSpec(tuple(worker(rank) for rank in range(workers)), start="together"))
    attendance = Attendance()
    root.bus.add_sink(attendance)
    crew = Crew(root, node, attendance, lambda rank, _: worker(rank, body), most, fewest=1)
    async with trio.open_nursery() as nursery:
        tree = Supervisor(SupervisorSpec((ChildSpec("node", node),)))
        nursery.start_soon(lambda: supervise(tree, path="run", emit=root.emit))
        await trio.sleep(1)
        root.bus.publish(committed(*range(workers)), ActorPath("run/coordinator"))
        yield crew
        nursery.cancel_scope.cancel()
    journal.close()


def wishes(folder: Path) -> list[facts.Event]:
    known = (facts.WorkerAdded, facts.WorkerRemoved)
    return [found.event for found in read_journal(folder / "events.jsonl") if isinstance(found.event, known)]


async def test_an_added_worker_gets_the_lowest_free_rank(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 3) as crew:
        assert await crew.remove("me", Rank(1)) == 1
        assert crew.ranks == [0, 2]
        assert await crew.add("you") == 1
        assert await crew.add("you") == 3
        assert (crew.ranks, crew.root.briefing.workers) == ([0, 1, 2, 3], 4)
    assert wishes(tmp_path) == [
        facts.WorkerRemoved(Rank(1), "me"), facts.WorkerAdded(Rank(1), "you"), facts.WorkerAdded(Rank(3), "you"),
    ]  # fmt: skip


async def test_without_a_rank_the_highest_leaves(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 2) as crew:
        assert await crew.remove("me") == 1
        assert (crew.ranks, crew.root.briefing.workers) == ([0], 1)


async def test_more_workers_than_shards_are_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 2, most=2) as crew:
        with pytest.raises(Refusal, match="there are 2 workers for 2 logical shards"):
            await crew.add("me")


async def test_nobody_leaves_whom_the_others_need(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 1) as crew:
        with pytest.raises(Refusal, match="there is no worker 7; there are 0"):
            await crew.remove("me", Rank(7))
        with pytest.raises(Refusal, match=r"0 workers would be left, and supervision\.min_workers = 1"):
            await crew.remove("me", Rank(0))
        await crew.add("me")
        with pytest.raises(Refusal, match="worker 1 takes no part yet"):
            await crew.remove("me", Rank(0))
        crew.root.bus.publish(committed(0, 1), ActorPath("run/coordinator"))
        assert await crew.remove("me", Rank(0)) == 0


async def test_a_worker_that_cannot_start_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 2, body=cannot_start()) as crew:
        with pytest.raises(GaveUp, match="worker-2 could not start: RuntimeError: no such device"):
            await crew.add("me")
        assert (crew.ranks, crew.root.briefing.workers) == ([0, 1], 2)
    assert wishes(tmp_path) == []


async def test_a_run_that_ends_or_has_not_begun_takes_no_wishes(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 2) as crew:
        crew.root.outcome = "done"
        with pytest.raises(Refusal, match="the run is ending"):
            await crew.add("me")
        crew.root.outcome = ""
        idle = Crew(crew.root, Supervisor(SupervisorSpec((worker(0),))), crew.attendance, crew.worker, 4, 1)
        with pytest.raises(Refusal, match="not up yet"):
            await idle.remove("me")
        staged = Crew(crew.root, crew.node, crew.attendance, crew.worker, 4, 1, stages=2)
        for wish in (staged.add, staged.remove):
            with pytest.raises(Refusal, match="a pipeline has as many as it began with"):
                await wish("me")


async def test_wishes_are_taken_one_after_the_other(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with crew_of(tmp_path, 1) as crew:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.add, "me")
            nursery.start_soon(crew.add, "you")
        assert crew.ranks == [0, 1, 2]


def test_an_attendance_that_knows_an_exit_keeps_its_rank() -> None:
    attendance = Attendance()
    gone = facts.ActorExited(ActorPath("run/node/worker-0"), Incarnation(1), "error")
    attendance(facts.Envelope(1, 0.0, ActorPath("run"), gone))
    assert attendance.missing == {0}
