"""The root passes on what one child must know of another, and writes down what they all say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from runtime import events as facts
from runtime.actors import Context, Exit, FatalExit, Mailbox, Order
from runtime.actors.frames import Beat, Fact, Hello, Report
from runtime.actors.process import Source
from runtime.app.root import Briefing, Root
from runtime.app.words import COORDINATOR, FINISHED, POINT, POSITION, SERVE, SERVING, STOP_RUN
from runtime.cluster.detector import HangDetector
from runtime.events import to_json
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from runtime.supervision import ChildSpec, Exited, Restart, Starting, Supervisor, SupervisorSpec, supervise
from tests.support.journal import read_journal

FIRST, SECOND = Incarnation(1), Incarnation(2)
GUARD_SECONDS = 60.0
COORDINATOR_PROCESS = Source(ActorPath("run/coordinator"), FIRST, 41)


def worker_process(rank: int, incarnation: int = 1) -> Source:
    return Source(ActorPath(f"run/node/worker-{rank}"), Incarnation(incarnation), 50 + rank)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    journal = Journal(tmp_path / "events.jsonl")
    bus = journaled_bus(journal)
    point = {"step": 0, "cursor": 0, "path": "", "counters": {}}
    briefing = Briefing("run-id", "token", 2, "hash", "0.1", "the command", point)
    yield Root(bus, journal, briefing, HangDetector(factor=6.0, floor_seconds=20.0))
    bus.close()
    journal.close()


def told(root: Root) -> list[tuple[str, facts.Event]]:
    """What the journal holds, as (path, fact)."""
    return [(envelope.path, envelope.event) for envelope in read_journal(root.journal.path)]


def orders_in(mailbox: Mailbox[Order]) -> list[Order]:
    return [mailbox.receive_nowait() for _ in range(len(mailbox))]


def committed(step: int, seconds: float = 0.5) -> facts.StepCommitted:
    return facts.StepCommitted(
        Step(step), Generation(3), Cursor(0), 16, True, 2.0, 100, 1.0, learning_rate=1e-3, seconds=seconds
    )


async def test_a_coordinator_is_briefed_when_it_says_hello(root: Root) -> None:
    inbox = root.coordinator.open(FIRST)
    root.coordinator_hooks.hello(COORDINATOR_PROCESS, Hello(41))
    (order,) = orders_in(inbox)
    assert order.kind == SERVE
    assert order.body["run_id"] == "run-id"
    assert order.body["after"] is None


async def test_its_successor_is_briefed_with_the_last_position_checkpoint_and_generation(root: Root) -> None:
    hooks = root.coordinator_hooks
    position = {"step": 7, "cursor": 112, "counters": {}, "verdict": None}
    point = {"step": 5, "cursor": 80, "path": "checkpoints/step-00000005", "counters": {}}
    started = facts.GenerationStarted(Generation(4), Step(8), ((Rank(0), FIRST),))
    written = facts.CheckpointWritten(Step(5), "checkpoints/step-00000005", 100, 0.5, "hash")
    hooks.fact(COORDINATOR_PROCESS, Fact(to_json(started)))
    hooks.fact(COORDINATOR_PROCESS, Fact(to_json(committed(7)), {POSITION: position}))
    hooks.fact(COORDINATOR_PROCESS, Fact(to_json(written), {POINT: point}))
    inbox = root.coordinator.open(SECOND)
    hooks.hello(COORDINATOR_PROCESS, Hello(42))
    (order,) = orders_in(inbox)
    assert (order.body["after"], order.body["point"], order.body["generation"]) == (position, point, 4)
    assert root.step == 7


async def test_workers_learn_where_the_coordinator_listens_whoever_comes_first(root: Root) -> None:
    early, late = root.worker_address(0).open(FIRST), root.worker_address(1)
    root.worker_hooks(0).hello(worker_process(0), Hello(50))
    assert orders_in(early) == []  # nobody listens yet
    root.coordinator_hooks.report(COORDINATOR_PROCESS, Report(SERVING, {"address": "127.0.0.1:9"}))
    contact = Order(COORDINATOR, {"address": "127.0.0.1:9", "token": "token", "run_id": "run-id"})
    assert orders_in(early) == [contact]
    inbox = late.open(FIRST)
    root.worker_hooks(1).hello(worker_process(1), Hello(51))
    assert orders_in(inbox) == [contact]
    assert orders_in(early) == []


async def test_a_worker_that_is_down_misses_nothing_that_it_is_not_told_again(root: Root) -> None:
    root.worker_address(0)
    root.coordinator_hooks.report(COORDINATOR_PROCESS, Report(SERVING, {"address": "127.0.0.1:9"}))
    inbox = root.worker_address(0).open(SECOND)
    root.worker_hooks(0).hello(worker_process(0, 2), Hello(50))
    assert [order.kind for order in orders_in(inbox)] == [COORDINATOR]


async def test_the_wish_to_stop_reaches_a_coordinator_that_is_up(root: Root) -> None:
    assert not root.ask_stop("SIGINT")
    inbox = root.coordinator.open(FIRST)
    assert root.ask_stop("SIGINT")
    assert orders_in(inbox) == [Order(STOP_RUN, {"by": "SIGINT"})]


async def test_a_childs_fact_is_written_under_its_own_path(root: Root) -> None:
    root.worker_hooks(1).fact(worker_process(1), Fact(to_json(facts.Warned("disk", "full"))))
    inner = facts.ActorStarting(ActorPath("run/node/worker-1/peer"), FIRST)
    root.worker_hooks(1).fact(worker_process(1), Fact(to_json(inner)))
    foreign = facts.ActorStarting(ActorPath("elsewhere"), FIRST)
    root.worker_hooks(1).fact(worker_process(1), Fact(to_json(foreign)))
    assert [path for path, _ in told(root)] == [
        "run/node/worker-1",
        "run/node/worker-1/peer",
        "run/node/worker-1",
    ]


async def test_the_run_ends_as_the_coordinator_says(root: Root) -> None:
    root.coordinator_hooks.report(
        COORDINATOR_PROCESS, Report(FINISHED, {"outcome": "done", "reason": "the last step", "step": 9})
    )
    assert (root.outcome, root.reason, root.step) == ("done", "the last step", 9)


async def test_the_first_failure_that_no_restart_cures_is_remembered(root: Root) -> None:
    path = ActorPath("run/node/worker-0")
    crash = Exit.of(FatalExit("exited with code 78", code=78, tail="error: no data\n"))
    root.emit(Starting(path, FIRST))
    root.emit(Exited(path, FIRST, crash, asked=False))
    root.emit(Exited(path, FIRST, Exit.of(FatalExit("exited with code 79", code=79)), asked=False))
    root.emit("not a fact")
    assert root.fatal is crash
    assert [type(event) for _, event in told(root)] == [facts.ActorStarting, facts.ActorExited, facts.ActorExited]


async def test_a_worker_that_never_beats_after_its_hello_is_found_hung(root: Root) -> None:
    root.worker_hooks(1).hello(worker_process(1), Hello(51))
    now = trio.current_time()
    found = []
    for seconds in range(0, 1000, 4):  # the detector trusts itself only when it looks often
        found += root.detector.judge(now + seconds)
    assert [(hung.rank, hung.incarnation, hung.phase) for hung in found] == [(1, FIRST, "load")]


async def test_the_end_of_a_workers_process_says_what_it_was_doing(root: Root) -> None:
    process = worker_process(1)
    root.worker_hooks(1).beat(process, Beat(7, "exchange"))
    for path in (process.path, ActorPath(f"{process.path}/trainer"), ActorPath("run/node/worker-0")):
        root.emit(Exited(path, FIRST, Exit.of(ValueError("bad shape")), asked=False))
    exits = [event for _, event in told(root) if isinstance(event, facts.ActorExited)]
    assert [(event.step, event.phase) for event in exits] == [(7, "exchange"), (0, ""), (0, "")]


async def test_the_end_of_the_coordinator_after_the_run_ends_the_tree(root: Root, autojump_clock: object) -> None:
    async def waits(ctx: Context[None]) -> None:
        ctx.ready()
        await ctx.stopping.wait()

    async def ends(ctx: Context[None]) -> None:
        ctx.ready()
        root.outcome = "done"

    coordinator = ChildSpec("coordinator", ends, Restart.TRANSIENT, address=root.coordinator)
    tree = root.tree = Supervisor(SupervisorSpec((coordinator, ChildSpec("node", waits))))
    with trio.fail_after(GUARD_SECONDS):
        await supervise(tree, path="run", emit=root.emit)
    exits = [event for _, event in told(root) if isinstance(event, facts.ActorExited)]
    assert [(event.path, event.expected) for event in exits] == [("run/coordinator", True), ("run/node", True)]


async def test_a_worker_that_stops_beating_is_replaced(root: Root, autojump_clock: object) -> None:
    replaced = trio.Event()

    async def worker(ctx: Context[None]) -> None:
        hooks = root.worker_hooks(0)
        ctx.ready()
        if ctx.incarnation > 1:
            replaced.set()
            await ctx.stopping.wait()
        hooks.beat(worker_process(0, ctx.incarnation), Beat(3, "compute"))
        await trio.sleep_forever()

    root.node = Supervisor(SupervisorSpec((ChildSpec("worker-0", worker),), intensity=3, period_seconds=600))
    tree = Supervisor(SupervisorSpec((ChildSpec("watch", root.watch), ChildSpec("node", root.node))))
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_over, tree, root)
            await replaced.wait()
            tree.end()
    (hung,) = [event for _, event in told(root) if isinstance(event, facts.WorkerHung)]
    assert (hung.rank, hung.incarnation, hung.phase, hung.limit_seconds) == (0, 1, "compute", 20.0)
    (planned,) = [event for _, event in told(root) if isinstance(event, facts.RestartPlanned)]
    assert planned.path == "run/node/worker-0"


async def test_the_usual_time_of_a_step_is_what_patience_is_measured_by(root: Root) -> None:
    root.coordinator_hooks.fact(COORDINATOR_PROCESS, Fact(to_json(committed(1, seconds=10.0))))
    assert root.detector.limit_seconds == 60.0


async def test_the_journal_is_synced_while_its_actor_lives(root: Root) -> None:
    ctx: Context[None] = Context("run/journal")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root.sync_journal, ctx)
        await trio.testing.wait_all_tasks_blocked()
        assert ctx.is_ready
        root.bus.publish(facts.RunFinished("done", Step(1), 1.0), ActorPath("run"))
        ctx.ask_stop()
    assert isinstance(told(root)[-1][1], facts.RunFinished)


async def _until_over(tree: Supervisor, root: Root) -> None:
    await supervise(tree, path="run", emit=root.emit)


def test_a_briefing_is_json(root: Root) -> None:
    assert json.loads(json.dumps(root.briefing.order().body))["command"] == "the command"


async def test_the_tracker_hears_how_the_run_ended_and_its_warnings_are_facts(root: Root) -> None:
    inbox = root.tracker.open(FIRST)
    root.coordinator_hooks.report(COORDINATOR_PROCESS, Report(FINISHED, {"outcome": "done", "reason": "", "step": 3}))
    assert [(order.kind, order.body["outcome"]) for order in orders_in(inbox)] == [(FINISHED, "done")]
    warned = facts.Warned("wandb", "it could not start")
    root.tracker_hooks.fact(Source(ActorPath("run/tracker"), FIRST, 43), Fact(to_json(warned)))
    assert told(root) == [("run/tracker", warned)]
