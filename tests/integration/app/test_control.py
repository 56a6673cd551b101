"""The control socket as a command meets it: real gRPC over a real unix socket, in front of a root without processes."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from mlxd_wire import control_pb2 as pb

from console.cli import main
from console.cli.control import address_of, ask
from runtime import events as facts
from runtime.actors import Context
from runtime.app.attendance import Attendance
from runtime.app.control import SOCKET_NAME, Control
from runtime.app.crew import Crew
from runtime.app.root import Briefing, Root
from runtime.app.run_lock import RunLock
from runtime.app.socket_place import socket_place
from runtime.app.words import STOP_RUN
from runtime.cluster.detector import HangDetector
from runtime.errors import RunError, RunFolderError, UsageError
from runtime.events import Envelope, RunState, fold_all
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from runtime.rpc import Call, GrpcNetwork, Service, UnaryMethod
from runtime.rpc.addresses import UNIX
from runtime.supervision import ChildSpec, Restart, Supervisor, SupervisorSpec, supervise
from tests.support.supervision_bodies import good

GUARD_SECONDS = 120.0
STARTED = facts.RunStarted("tested", 2, Step(1), Step(9), 2, "c")
JOINED = facts.WorkerJoined(Rank(0), Incarnation(2), Step(3), 77)
COMMITTED = facts.StepCommitted(
    Step(4), Generation(1), Cursor(6), 2, True, 1.5, 1, 1.0, 0.1, 0.25, owners=(Rank(0), Rank(1))
)


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """Short: the path of a socket may have about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="mlxd-") as folder:
        yield Path(folder)


def state() -> RunState:
    told: tuple[facts.Event, ...] = (STARTED, JOINED, COMMITTED, facts.SpareReady(5))
    return fold_all(Envelope(n, 100.0 + n, ActorPath("run"), fact) for n, fact in enumerate(told, 1))


@asynccontextmanager
async def served(run_folder: Path, guard_seconds: float = GUARD_SECONDS) -> AsyncIterator[Root]:
    """A live run with two workers that are no processes."""
    lock = RunLock.take(run_folder, "id", "the command")
    journal = Journal(run_folder / "events.jsonl")
    root = Root(journaled_bus(journal), journal, Briefing("id", "t", 2, "h", "v", "c", {}), HangDetector(6, 20))
    node = Supervisor(SupervisorSpec(tuple(worker(rank) for rank in range(2)), start="together"))
    attendance = Attendance()
    root.bus.add_sink(attendance)
    crew = Crew(root, node, attendance, lambda rank, _: worker(rank), most=3, fewest=1)
    control = ChildSpec("control", Control(root, crew, state, run_folder))
    up = trio.Event()

    async def last(ctx: Context[None]) -> None:
        ctx.ready()
        up.set()
        await ctx.stopping.wait()

    tree = Supervisor(SupervisorSpec((ChildSpec("node", node), control, ChildSpec("last", last))))
    root.tree, root.node = tree, node
    try:
        with trio.fail_after(guard_seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: supervise(tree, path="run", emit=root.emit))
                await up.wait()
                root.bus.publish(COMMITTED, ActorPath("run/coordinator"))
                while not (run_folder / SOCKET_NAME).exists():
                    await trio.lowlevel.checkpoint()
                yield root
                nursery.cancel_scope.cancel()
    finally:
        journal.close()
        lock.release()


def worker(rank: int) -> ChildSpec:
    return ChildSpec(f"worker-{rank}", good, Restart.TRANSIENT)


async def command(*words: object) -> int:
    """A command in a thread, as if another process gave it."""
    return await trio.to_thread.run_sync(main.main, [str(word) for word in words])


def said(capsys: pytest.CaptureFixture[str]) -> Sequence[str]:
    out, err = capsys.readouterr()
    return [*out.splitlines(), *err.splitlines()]


async def test_the_status_is_told_in_words_and_as_json(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with served(run_folder):
        assert await command("status", run_folder) == 0
        assert said(capsys) == [
            "tested is running: step 4 of 9, loss 1.5000, 0.25 s a step",
            f"generation 0, 0 restarts so far, 1 spare is ready, process {os.getpid()}",
            "  worker 0  joined, has the state of step 3, pid 77, start 2",
            "  worker 1  starting",
        ]
        assert await command("status", run_folder, "--json") == 0
        status = json.loads("\n".join(said(capsys)))
    assert (status["status"], status["step"], status["last_step"], status["root_pid"]) == ("running", 4, 9, os.getpid())
    assert [worker["phase"] for worker in status["workers"]] == ["joined", ""]


async def test_only_its_user_reaches_the_socket_and_nothing_of_it_stays(run_folder: Path) -> None:
    async with served(run_folder):
        place = run_folder / SOCKET_NAME
        while stat.S_IMODE(place.stat().st_mode) != 0o600:
            await trio.lowlevel.checkpoint()
        assert stat.S_ISSOCK(place.stat().st_mode)
    assert not place.exists()


async def test_a_stop_reaches_the_coordinator_or_says_why_not(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(run_folder) as root:
        assert await command("stop", run_folder) == 1
        assert "the coordinator is being restarted" in said(capsys)[0]
        inbox = root.coordinator.open(Incarnation(1))
        assert await command("stop", run_folder) == 0
        assert (await inbox.receive()).kind == STOP_RUN
        assert await command("stop", run_folder, "--json") == 0
    assert said(capsys)[1:] == ['{"stopping": true}']


async def test_workers_are_added_and_removed_and_refusals_are_sentences(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with served(run_folder):
        assert await command("workers", run_folder, "add") == 0
        assert await command("workers", run_folder, "add") == 1
        assert await command("workers", run_folder, "remove", "--json") == 0
        assert await command("workers", run_folder, "remove", 5) == 1
        assert await command("workers", run_folder, "add", 5) == 2
    out = said(capsys)
    assert out[:2] == ["worker 2 is added; there are 0, 1, 2 now", '{"removed": 2, "workers": [0, 1]}']
    assert "there are 3 workers for 3 logical shards" in out[2]
    assert out[3] == f"error: {run_folder}: there is no worker 5; there are 0, 1"
    assert "RANK says which worker to remove" in out[4]


async def test_a_run_whose_socket_cannot_be_had_goes_on_and_says_so(run_folder: Path) -> None:
    lock = RunLock.take(run_folder, "id", "c")
    (run_folder / SOCKET_NAME).mkdir()
    (run_folder / SOCKET_NAME / "taken").touch()
    journal = Journal(run_folder / "events.jsonl")
    root = Root(journaled_bus(journal), journal, Briefing("id", "t", 1, "h", "v", "c", {}), HangDetector(6, 20))
    warned: list[facts.Event] = []
    root.bus.add_sink(lambda envelope: warned.append(envelope.event))
    node = Supervisor(SupervisorSpec((worker(0),)))
    control = Control(root, Crew(root, node, Attendance(), worker_of, 1, 1), state, run_folder)
    ctx = Context[None]("run/control")
    with trio.fail_after(GUARD_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control, ctx)
            while not warned:
                await trio.lowlevel.checkpoint()
            ctx.ask_stop()
    (warning,) = warned
    assert isinstance(warning, facts.Warned)
    assert "cannot be served" in warning.text
    journal.close()
    lock.release()


def worker_of(rank: Rank, _: int) -> ChildSpec:
    return worker(rank)


async def test_a_method_that_this_version_does_not_know_is_an_error_of_the_run(run_folder: Path) -> None:
    async with served(run_folder):
        with pytest.raises(RunError, match="Dance"):
            await trio.to_thread.run_sync(ask, run_folder, "Dance", pb.StopRequest(), pb.StopReply)


@pytest.fixture
def deaf(run_folder: Path) -> Iterator[socket.socket]:
    """The socket of a live run whose root takes no calls."""
    lock = RunLock.take(run_folder, "id", "the command")
    (run_folder / "events.jsonl").touch()
    with socket.socket(socket.AF_UNIX) as nobody_listens:
        nobody_listens.bind(str(run_folder / SOCKET_NAME))
        yield nobody_listens
    lock.release()


def test_a_run_that_takes_no_calls_may_have_ended_in_this_moment(run_folder: Path, deaf: socket.socket) -> None:
    with pytest.raises(RunFolderError, match="does not take calls"):
        ask(run_folder, "Stop", pb.StopRequest(), pb.StopReply)


async def test_a_run_that_does_not_answer_is_told_so_after_the_time_that_was_given(run_folder: Path) -> None:
    async def never(request: pb.StopRequest, call: Call) -> pb.StopReply:
        await trio.sleep_forever()
        raise AssertionError("nobody wakes it")

    lock = RunLock.take(run_folder, "id", "the command")
    (run_folder / "events.jsonl").touch()
    silent = Service("mlxd.Control", {"Stop": UnaryMethod(pb.StopRequest, never)})
    async with GrpcNetwork.open() as network:
        async with network.serve([silent], f"{UNIX}{run_folder / SOCKET_NAME}", name="control"):
            with pytest.raises(RunError, match=r"has not answered within 0.2 s"):
                await trio.to_thread.run_sync(
                    lambda: ask(run_folder, "Stop", pb.StopRequest(), pb.StopReply, within_seconds=0.2)
                )
    lock.release()


def test_a_path_that_is_too_long_is_a_link_to_a_short_one(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    with socket_place(folder, SOCKET_NAME) as place:
        place.touch()
        named = folder / SOCKET_NAME
        assert named.readlink() == place
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        with socket_place(folder, SOCKET_NAME) as second:  # as after a root that was killed
            assert not place.exists()
            assert named.readlink() == second
    assert not os.path.lexists(named)
    assert not second.parent.exists()


def test_what_is_no_run_and_what_does_not_live_are_told_apart(run_folder: Path) -> None:
    with pytest.raises(UsageError, match="is no run"):
        address_of(run_folder)
    (run_folder / "events.jsonl").touch()
    with pytest.raises(RunFolderError, match="is not running on this machine"):
        address_of(run_folder)
    lock = RunLock.take(run_folder, "id", "c")
    with pytest.raises(RunFolderError, match="just starting or ending"):
        address_of(run_folder)
    lock.release()
