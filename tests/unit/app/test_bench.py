"""A worker's bench: the parent's orders in, beats and facts out, checkpoints reported to the coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from runtime.actors import Beat, Exit, Fact
from runtime.app.bench import BEAT_SECONDS, Bench, Contact
from runtime.app.equipment import Equipment, prepare
from runtime.app.words import COORDINATOR
from runtime.checkpoint.writer import Saved, ShareSaved
from runtime.cluster.messages import CheckpointDone, ShardWritten
from runtime.config.load import load_config
from runtime.errors import DataError, ModelError
from runtime.events import ActorStarting, CheckpointFailed, CheckpointWritten, Warned, to_json
from runtime.ids import ActorPath, Incarnation, Rank, Step
from runtime.supervision import Exited, Starting, Stopping
from runtime.trainer.device_thread import DeviceThread
from runtime.trainer.engine import Parts
from runtime.trainer.trainer import Identity, Trainer
from tests.support.tiny import write_tiny_config
from tests.support.wires import Wires, wires

ELSEWHERE = Contact("127.0.0.1:1", "token", "run-id")
PATH = ActorPath("run/node/worker-1")
WRITTEN = CheckpointWritten(Step(5), "checkpoints/step-00000005", 100, 0.5, "hash")


@pytest.fixture(scope="module")
def equipment(tmp_path_factory: pytest.TempPathFactory) -> Equipment:
    folder = tmp_path_factory.mktemp("equipment")
    return prepare(load_config(write_tiny_config(folder / "config")), folder / "run", rank=0)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("schema = 1\n")
    return tmp_path


def bench_of(equipment: Equipment, at: Wires, run_folder: Path) -> Bench:
    return Bench(equipment, DeviceThread(), at.parent, Rank(1), Incarnation(2), run_folder)


async def test_the_parents_orders_name_the_coordinator_and_then_the_end(equipment: Equipment, run_folder: Path) -> None:
    with wires() as at, trio.fail_after(60):
        bench = bench_of(equipment, at, run_folder)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.parent._receive)
            nursery.start_soon(bench.obey)
            at.order("something-later", address="nowhere")
            at.order(COORDINATOR, address="127.0.0.1:1", token="token", run_id="run-id")
            assert await bench.contact() == ELSEWHERE
            at.order(COORDINATOR, address="127.0.0.1:2", token="token", run_id="run-id")
            assert (await bench.contact(other_than=ELSEWHERE)).address == "127.0.0.1:2"
            assert not bench.done.is_set()
            at.order("stop")
            await bench.done.wait()


async def test_a_worker_beats_also_while_nothing_changes(
    equipment: Equipment, run_folder: Path, autojump_clock: object
) -> None:
    with wires() as at:
        bench = bench_of(equipment, at, run_folder)
        bench.pulse.enter(4, "compute")
        with trio.move_on_after(2.5 * BEAT_SECONDS):
            await bench.beat()
        assert at.frames() == [Beat(4, "compute")] * 4


async def test_what_actors_say_goes_into_the_journal(equipment: Equipment, run_folder: Path) -> None:
    with wires() as at:
        bench = bench_of(equipment, at, run_folder)
        bench.emit(Warned("disk", "slow"))
        bench.emit(Starting(ActorPath(f"{PATH}/peer"), Incarnation(1)))
        bench.emit(Stopping(PATH, Incarnation(1), 5.0))
        bench.emit(Saved("1-1", WRITTEN))  # no trainer yet, so there is no coordinator to tell
        starting = ActorStarting(ActorPath(f"{PATH}/peer"), Incarnation(1))
        assert at.frames() == [Fact(to_json(fact)) for fact in (Warned("disk", "slow"), starting, WRITTEN)]


async def test_what_the_writer_did_goes_to_the_coordinator(equipment: Equipment, run_folder: Path) -> None:
    with wires() as at:
        bench = bench_of(equipment, at, run_folder)
        bench.trainer = trainer_of(bench)
        bench.emit(Saved("1-1", WRITTEN))
        bench.emit(Saved("1-2", CheckpointFailed(Step(10), "no space left")))
        bench.emit(ShareSaved(Step(15), "1-3", 2, "[]"))
        assert [bench.trainer._reports.receive_nowait() for _ in range(3)] == [
            CheckpointDone(Step(5), "checkpoints/step-00000005", 100, 0.5, "hash", attempt="1-1"),
            CheckpointDone(Step(10), "", 0, 0.0, "", "no space left", "1-2"),
            ShardWritten(Step(15), "1-3", 2, "[]"),
        ]
        assert at.frames() == []


async def test_the_first_failure_that_no_restart_cures_is_kept(equipment: Equipment, run_folder: Path) -> None:
    with wires() as at:
        bench = bench_of(equipment, at, run_folder)
        first, second = DataError("no data"), ModelError("no model")
        for error in (ValueError("a bug"), first, second):
            bench.emit(Exited(PATH, Incarnation(1), Exit.of(error), asked=False))
        assert bench.failure is first


async def test_facts_that_a_busy_parent_does_not_take_are_dropped_and_said(
    equipment: Equipment, run_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with wires() as at:
        bench = bench_of(equipment, at, run_folder)
        pipe_and_outbox = (1 << 20) // 1000 + 1100
        for number in range(pipe_and_outbox):
            bench.emit(Warned("disk", f"{number}" + "x" * 1000))
        assert "a fact was dropped" in capfd.readouterr().err


async def test_the_configuration_is_known_by_its_hash(equipment: Equipment, run_folder: Path, tmp_path: Path) -> None:
    with wires() as at:
        one = bench_of(equipment, at, run_folder)
        (run_folder / "config.toml").write_text("schema = 1\n[run]\nseed = 8\n")
        other = bench_of(equipment, at, run_folder)
    assert len(one.config_hash) == len(other.config_hash) == 16
    assert one.config_hash != other.config_hash


def trainer_of(bench: Bench) -> Trainer:
    """A trainer that serves nobody yet: it only takes reports."""
    identity = Identity("run-id", Rank(1), Incarnation(2), "127.0.0.1:3", 96, "data", "host", "cpu", 7)
    nobody: Any = None
    return Trainer(identity, Parts(nobody, nobody, nobody, nobody, bench.pulse))
