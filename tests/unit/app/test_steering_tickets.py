"""Tickets of proposed actions, and what is refused while a run begins or ends. Nothing is started here."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from mlxd_wire import control_pb2 as pb

from runtime import events as facts
from runtime.app.attendance import Attendance
from runtime.app.crew import Crew, Refusal
from runtime.app.monitoring import Monitoring, monitor_tree
from runtime.app.root import Briefing, Root
from runtime.app.steering import TICKET_SECONDS, Steering
from runtime.app.words import PAUSE_RUN, RESUME_RUN, SAVE_NOW, STOP_RUN
from runtime.cluster.detector import HangDetector
from runtime.events import RunState
from runtime.events.bus import journaled_bus
from runtime.events.journal import Journal
from runtime.events.replay import JournalReader
from runtime.events.state import ActorRow
from runtime.ids import ActorPath, Incarnation, Rank
from runtime.supervision import ChildSpec, Supervisor, SupervisorSpec
from tests.support.supervision_bodies import good

SEEN = pb.Action(kind="acknowledge", subject="worker 1", by="kim")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    journal = Journal(tmp_path / "events.jsonl")
    yield Root(journaled_bus(journal), journal, Briefing("id", "t", 1, "h", "v", "c", {}), HangDetector(6, 20))
    journal.close()


@pytest.fixture
def steering(root: Root) -> Steering:
    return Steering(root, crew_of(root), RunState)


def crew_of(root: Root) -> Crew:
    node = Supervisor(SupervisorSpec((ChildSpec("worker-0", good),)))
    return Crew(root, node, Attendance(), lambda rank, _: ChildSpec(f"worker-{rank}", good), most=2, fewest=1)


async def test_a_ticket_is_good_for_a_minute(steering: Steering, tmp_path: Path) -> None:
    early, late = (steering.propose(SEEN, 0.0).id for _ in range(2))
    assert await steering.commit(early, TICKET_SECONDS) == "seen: worker 1"
    with pytest.raises(Refusal, match="too long ago"):
        await steering.commit(late, TICKET_SECONDS + 0.1)
    (envelope,) = JournalReader(tmp_path / "events.jsonl")
    assert envelope.event == facts.AlarmAcknowledged("worker 1", "kim")


async def test_who_proposes_for_ever_loses_the_oldest_tickets(steering: Steering) -> None:
    tickets = [steering.propose(SEEN, 0.0).id for _ in range(65)]
    with pytest.raises(Refusal, match="propose it again"):
        await steering.commit(tickets[0], 1.0)
    assert await steering.commit(tickets[1], 1.0) == "seen: worker 1"


def test_before_the_workers_are_up_none_can_leave_or_be_restarted(steering: Steering) -> None:
    with pytest.raises(Refusal, match="there is no worker None; there are none"):
        steering.propose(pb.Action(kind="remove_worker"), 0.0)
    with pytest.raises(Refusal, match="cannot be restarted by itself"):
        steering.propose(pb.Action(kind="restart", subject="run/node/worker-0"), 0.0)


def test_the_coordinator_can_be_restarted_at_nobodys_cost(root: Root, steering: Steering) -> None:
    ticket = steering.propose(pb.Action(kind="restart", subject="run/coordinator"), 0.0)
    assert list(ticket.effects)[:2] == ["run/coordinator ends and starts anew", "nobody's restart limit is burnt"]
    root.outcome = "done"
    with pytest.raises(Refusal, match="the run is ending"):
        steering.propose(pb.Action(kind="restart", subject="run/coordinator"), 0.0)


def facts_in(tmp_path: Path) -> list[facts.Event]:
    return [envelope.event for envelope in JournalReader(tmp_path / "events.jsonl")]


async def done(steering: Steering, kind: str, subject: str = "") -> str:
    ticket = steering.propose(pb.Action(kind=kind, subject=subject, by="kim"), 0.0)
    return await steering.commit(ticket.id, 1.0)


async def test_a_pause_is_known_to_a_successor_before_the_coordinator_hears_of_it(
    root: Root, steering: Steering, tmp_path: Path
) -> None:
    assert await done(steering, "pause") == "the run finishes its step and pauses"
    assert root.briefing.order().body["held"] == "kim"
    assert facts_in(tmp_path) == [facts.PauseRequested("kim")]


async def test_pause_resume_checkpoint_and_stop_reach_the_coordinator(root: Root, tmp_path: Path) -> None:
    state = RunState()
    steering = Steering(root, crew_of(root), lambda: state)
    inbox = root.coordinator.open(Incarnation(1))
    await done(steering, "pause")
    state = RunState(pausing="kim")
    await done(steering, "resume")
    assert root.briefing.held == ""
    await done(steering, "checkpoint")
    await done(steering, "stop")
    orders = [inbox.receive_nowait() for _ in range(len(inbox))]
    assert [order.kind for order in orders] == [PAUSE_RUN, RESUME_RUN, SAVE_NOW, STOP_RUN]
    assert facts_in(tmp_path)[1:] == [facts.ResumeRequested("kim"), facts.CheckpointRequested("kim")]


@pytest.mark.parametrize("kind", ["checkpoint", "stop"])
async def test_a_coordinator_that_is_down_can_save_and_stop_nothing(steering: Steering, kind: str) -> None:
    with pytest.raises(Refusal, match="is being restarted"):
        await done(steering, kind)


async def test_a_process_is_killed_with_its_whole_group_and_the_journal_knows_by_whom(
    root: Root, tmp_path: Path
) -> None:
    path = ActorPath("run/coordinator")
    command = [sys.executable, "-P", "-c", "import signal; signal.pause()"]
    child = await trio.lowlevel.open_process(command, start_new_session=True)
    row = ActorRow(path, "ready", pid=child.pid)
    steering = Steering(root, crew_of(root), lambda: RunState(actors={path: row}))
    assert await done(steering, "kill", path) == f"process {child.pid} of {path} is killed"
    with trio.fail_after(60):
        assert await child.wait() == -signal.SIGKILL
    assert facts_in(tmp_path) == [facts.KillRequested(path, "kim")]
    with pytest.raises(Refusal, match="has just ended by itself"):
        await done(steering, "kill", path)


async def test_who_is_not_up_cannot_be_restarted(steering: Steering) -> None:
    for subject in ("run/coordinator", "run/monitoring/monitor"):
        with pytest.raises(Refusal, match="is not up"):
            await done(steering, "restart", subject)


async def test_no_monitor_is_started_while_the_run_begins(root: Root, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="just beginning or ending"):
        await Monitoring(root, tmp_path).open()


def test_a_monitor_that_dies_often_gives_up_without_anybody_else(root: Root, tmp_path: Path) -> None:
    spec = monitor_tree(root, tmp_path).spec
    assert [child.id for child in spec.children] == ["monitor"]
    assert spec.backoff.longest_burst(spec.intensity) < spec.period_seconds / 1.5


def test_the_last_sign_of_life_of_each_worker_is_kept_for_the_monitor(root: Root) -> None:
    root.heard(Rank(0), 3, "compute")
    root.heard(Rank(0), 4, "exchange")
    assert [(rank, beat[1:]) for rank, beat in root.beats.items()] == [("0", (4, "exchange"))]
