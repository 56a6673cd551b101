"""Actions on a live run: proposed, committed, journaled with who it was; and its monitor, a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import trio
from mlxd_wire import control_pb2 as control
from mlxd_wire import monitor_pb2 as pb

from console.cli.control import ask
from console.client.picture import Picture
from console.client.stream import RunStream, monitor_of
from runtime import events as facts
from runtime.actors import Context
from runtime.app.root import Root
from runtime.events import Envelope
from runtime.events.replay import JournalReader
from runtime.ids import ActorPath, Incarnation, Rank, Step
from tests.integration.app.test_control import run_folder, served

__all__ = ["run_folder"]
GUARD_SECONDS = 300.0


async def proposed(run_folder: Path, kind: str, subject: str = "") -> control.Ticket:
    action = control.Action(kind=kind, subject=subject, by="kim")
    return await trio.to_thread.run_sync(ask, run_folder, "Propose", action, control.Ticket)


async def committed(run_folder: Path, ticket: control.Ticket) -> control.CommitReply:
    request = control.CommitRequest(id=ticket.id)
    return await trio.to_thread.run_sync(ask, run_folder, "Commit", request, control.CommitReply)


def told(run_folder: Path) -> list[facts.Event]:
    return [envelope.event for envelope in JournalReader(run_folder / "events.jsonl")]


async def test_a_worker_is_restarted_once_it_was_proposed_and_committed(run_folder: Path) -> None:
    async with served(run_folder) as root:
        assert root.node is not None
        ticket = await proposed(run_folder, "restart", "run/node/worker-1")
        assert list(ticket.effects) == [
            "worker 1 ends and starts anew, healed by the others", "no step is lost: 4 stands",
        ]  # fmt: skip
        assert incarnations(root) == [1, 1]
        reply = await committed(run_folder, ticket)
        assert (reply.done, incarnations(root)) == ("run/node/worker-1 is started anew", [1, 2])
        assert facts.RestartRequested(ActorPath("run/node/worker-1"), "kim") in told(run_folder)
        again = await committed(run_folder, ticket)
        assert "done already" in again.refusal


async def test_workers_are_added_and_removed_and_alarms_seen(run_folder: Path) -> None:
    async with served(run_folder):
        assert (await committed(run_folder, await proposed(run_folder, "add_worker"))).done.startswith("worker 2 is up")
        removal = await proposed(run_folder, "remove_worker", "2")
        assert removal.effects[1] == "its part of the step is done by 0, 1"
        assert (await committed(run_folder, removal)).done == "worker 2 is gone"
        highest = await proposed(run_folder, "remove_worker")
        assert highest.effects[0] == "worker 1 ends for good"
        await committed(run_folder, await proposed(run_folder, "acknowledge", "worker 1"))
        assert facts.AlarmAcknowledged("worker 1", "kim") in told(run_folder)
        stop = await proposed(run_folder, "stop")
        assert "can be resumed" in stop.effects[2]
        assert "try again" in (await committed(run_folder, stop)).refusal, "this run has no coordinator"


@pytest.mark.parametrize(
    ("kind", "subject", "words"),
    [
        ("explode", "", "'explode' is no action"),
        ("remove_worker", "7", "there is no worker 7; there are 0, 1"),
        ("remove_worker", "one", "'one' is no rank"),
        ("restart", "run/control", "cannot be restarted by itself"),
        ("restart", "run/node/worker-9", "cannot be restarted by itself"),
        ("acknowledge", "", "which alarm"),
    ],
)
async def test_what_makes_no_sense_gets_no_ticket(run_folder: Path, kind: str, subject: str, words: str) -> None:
    async with served(run_folder):
        ticket = await proposed(run_folder, kind, subject)
    assert (ticket.id, words in ticket.refusal) == ("", True)


def incarnations(root: Root) -> list[int]:
    view = root.node.view() if root.node is not None else None
    return [child.incarnation for child in view.children] if view is not None else []


def watched_over_its_death(run_folder: Path) -> tuple[Picture, set[int], int]:
    """What a console has after the monitor was killed under it and came back: (picture, epochs, connections)."""
    epochs: set[int] = set()
    stream = RunStream(monitor_of(run_folder), pb.Want(events=True, max_hz=10.0))

    async def watch() -> None:
        done = asyncio.Event()

        def heard(picture: Picture, fresh: list[Envelope]) -> None:
            if picture.epoch not in epochs:
                epochs.add(picture.epoch)
                if len(epochs) == 1:
                    os.kill(monitor_pid(run_folder), signal.SIGKILL)
            beats = [card.beat_phase for card in picture.view.workers.values()]
            if len(epochs) > 1 and picture.event_seq >= newest_event(run_folder) and beats == ["compute"]:
                done.set()

        async with asyncio.timeout(GUARD_SECONDS):
            task = asyncio.create_task(stream.run(heard))
            await done.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())
    return stream.picture, epochs, stream.connections


def monitor_pid(run_folder: Path) -> int:
    ready = [fact for fact in told(run_folder) if isinstance(fact, facts.ActorReady)]
    (pid,) = [fact.pid for fact in ready if fact.path.endswith("/monitor")]
    return pid


def newest_event(run_folder: Path) -> int:
    ends = [
        envelope.seq
        for envelope in JournalReader(run_folder / "events.jsonl")
        if isinstance(envelope.event, facts.ActorExited)
    ]
    return max(ends, default=1 << 60)


async def test_a_killed_monitor_comes_back_and_its_readers_lose_and_double_nothing(run_folder: Path) -> None:
    async with served(run_folder, guard_seconds=GUARD_SECONDS) as root:
        root.bus.publish(facts.WorkerJoined(Rank(0), Incarnation(1), Step(3), 77), ActorPath("run/coordinator"))
        root.heard(Rank(0), 5, "compute")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(root.watch, Context("run/watch", emit=root.emit))
            picture, epochs, connections = await trio.to_thread.run_sync(watched_over_its_death, run_folder)
            nursery.cancel_scope.cancel()
        assert (len(epochs), connections >= 2) == (2, True)
        heard = [envelope.seq for envelope in picture.events]
        assert heard == sorted(set(heard))
        kinds = {type(envelope.event).__name__ for envelope in picture.events}
        assert kinds >= {"ActorReady", "ActorExited", "RestartPlanned"}
        assert incarnations(root) == [1, 1], "no worker has noticed anything"
        assert picture.view.run.step == 4
        assert picture.view.nodes["run/monitoring/monitor"].restarts == 1
