from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.app import process_identity
from runtime.app.leftovers import ChildRecords, sweep
from runtime.app.process_identity import ProcessIdentity, identity_of, own_identity
from runtime.events import ActorExited, ActorReady, Envelope, Event, StopRequested
from runtime.ids import ActorPath, Incarnation

WORKER = ActorPath("root/node/worker-0")


@pytest.fixture(params=[True, False], ids=["leads a group", "in our group"])
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], start_new_session=request.param) as process:
        yield process
        process.kill()


@pytest.fixture
def lone_child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def state(records: ChildRecords, *facts: Event) -> None:
    for seq, fact in enumerate(facts, 1):
        records(Envelope(seq, 0.0, ActorPath("root"), fact))


def ready(pid: int) -> ActorReady:
    return ActorReady(WORKER, Incarnation(1), pid)


def test_a_recorded_child_is_swept(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    state(ChildRecords(tmp_path), ready(child.pid))
    assert json.loads((tmp_path / f"{child.pid}.json").read_text())["path"] == WORKER
    assert sweep(tmp_path) == (child.pid,)
    assert child.wait(timeout=60) == -9
    assert list(tmp_path.iterdir()) == []


def test_a_reused_process_id_is_left_in_peace(tmp_path: Path, lone_child: subprocess.Popen[bytes]) -> None:
    identity = identity_of(lone_child.pid)
    assert identity is not None
    (tmp_path / "1.json").write_text(json.dumps({**identity.to_json(), "start_time": "7"}))
    assert sweep(tmp_path) == ()
    assert identity.is_alive()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_half_a_record_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / "1.json").write_text(text)
    assert sweep(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_the_sweeper_never_kills_itself(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps(own_identity().to_json()))
    assert sweep(tmp_path) == ()


def test_a_child_that_exited_is_forgotten(tmp_path: Path, lone_child: subprocess.Popen[bytes]) -> None:
    records = ChildRecords(tmp_path)
    gone = ActorExited(WORKER, Incarnation(1), "normal", expected=True)
    state(records, ready(lone_child.pid), StopRequested("x"), gone, gone)
    assert list(tmp_path.iterdir()) == []


def test_an_actor_without_a_process_of_its_own_is_not_recorded(tmp_path: Path) -> None:
    state(ChildRecords(tmp_path), ready(0), ready(os.getpid()))
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_is_dead_already_is_not_recorded(tmp_path: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    state(ChildRecords(tmp_path), ready(done.pid))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_stop_the_bus(tmp_path: Path, lone_child: subprocess.Popen[bytes]) -> None:
    records = ChildRecords(tmp_path / "gone")
    state(records, ready(lone_child.pid), ActorExited(WORKER, Incarnation(1), "normal"))
    assert not (tmp_path / "gone").exists()
    assert lone_child.poll() is None


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    identity = identity_of(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(process.pid) is None
    assert identity is None or not identity.is_alive()
    process.communicate()


def test_an_identity_survives_a_round_trip() -> None:
    identity = own_identity()
    assert identity.is_alive()
    assert process_identity.identity_from_json(identity.to_json()) == identity
    assert not ProcessIdentity(identity.pid, "0", identity.boot_id).is_alive()


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_where_there_is_no_proc_ps_tells_the_start_time(lone_child: subprocess.Popen[bytes]) -> None:
    first = process_identity.start_time_by_ps(lone_child.pid)
    assert len(first.split()) == 5
    assert process_identity.start_time_by_ps(lone_child.pid) == first
    lone_child.kill()
    os.waitid(os.P_PID, lone_child.pid, os.WEXITED | os.WNOWAIT)
    assert process_identity.start_time_by_ps(lone_child.pid) == ""
    lone_child.wait()
    assert process_identity.start_time_by_ps(lone_child.pid) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="boot ids are Linux's")
def test_a_system_without_boot_ids_has_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "_PROC", tmp_path)
    assert process_identity.boot_id.__wrapped__() == ""
    assert identity_of(os.getpid()) is None
    with pytest.raises(RuntimeError, match="cannot find itself"):
        own_identity()
