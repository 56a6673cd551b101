"""Two workers of a state that is worth cutting: each copies and writes its share only, and the first one seals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from runtime.actors.actor import Context
from runtime.app.bench import Bench
from runtime.app.equipment import Equipment, prepare
from runtime.app.writer_desk import WriterDesk, shares_of_stage
from runtime.checkpoint.reader import load, verify
from runtime.checkpoint.retention import Keeping
from runtime.checkpoint.shares import LEAST_SHARE_BYTES, Share, StateSizes
from runtime.checkpoint.writer import Saved, ShareSaved, checkpoint_writer
from runtime.cluster.grid import Grid
from runtime.cluster.messages import Member, Order, Rest, Restore, Save, Seal
from runtime.config.load import load_config
from runtime.events import CheckpointWritten
from runtime.ids import Cursor, Generation, Incarnation, Rank, Step
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread, open_device_thread
from tests.support.tiny import write_tiny_config
from tests.support.wires import wires

GUARD_SECONDS = 120
WRITERS = (Rank(0), Rank(1), Rank(2))
ORDER = Order(
    Generation(4), tuple(Member(rank, Incarnation(1), "") for rank in WRITERS), Step(0), Cursor(0), {}, None,
    Rest("closing"), Save("4-1", WRITERS), metrics={"eval/loss": 1.5},
)  # fmt: skip
WIDE = {"model": {"scratch": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}}}
WIDE["model"]["scratch"]["intermediate_size"] = (
    2 * LEAST_SHARE_BYTES // (12 * 3 * 32) + 1
)  # gate, up, down; 3 x float32


@pytest.fixture(scope="module")
def equipment(tmp_path_factory: pytest.TempPathFactory) -> Equipment:
    folder = tmp_path_factory.mktemp("wide")
    return prepare(load_config(write_tiny_config(folder / "config", extra=WIDE)), folder / "run", rank=0)


@contextmanager
def benches(equipment: Equipment, run_folder: Path) -> Iterator[list[Bench]]:
    """Three workers that have the same equipment on one device."""
    (run_folder / "config.toml").write_text("schema = 1\n")
    with wires() as at:
        yield [Bench(equipment, DeviceThread(), at.parent, rank, Incarnation(1), run_folder) for rank in WRITERS]


@asynccontextmanager
async def writing(bench: Bench) -> AsyncIterator[list[object]]:
    """The bench's writer at work, and what it says."""
    said: list[object] = []
    inbox = bench.writer.open(Incarnation(1))
    ctx = Context(bench.writer.path, inbox=inbox, emit=said.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checkpoint_writer(bench.run_folder / "checkpoints", Keeping()), ctx)
        yield said
        ctx.ask_stop()


@asynccontextmanager
async def beginning(equipment: Equipment, run_folder: Path) -> AsyncIterator[DeviceEngine]:
    """A device that holds the initial state."""
    async with open_device_thread() as thread:
        engine = DeviceEngine(thread, equipment.replica, equipment.held_out, run_folder, Rank(0))
        await engine.restore(Restore(Step(0), Cursor(0), {}, ""))
        yield engine


async def test_a_large_state_is_written_by_as_many_as_it_is_worth_and_loads_whole(
    equipment: Equipment, tmp_path: Path
) -> None:
    with benches(equipment, tmp_path) as (first, second, third), trio.fail_after(GUARD_SECONDS):
        async with beginning(equipment, tmp_path) as engine:
            async with writing(second) as of_second, writing(third) as of_third:
                await WriterDesk(second).write(engine, ORDER)
                await WriterDesk(third).write(engine, ORDER)
            (share,) = of_second
            assert isinstance(share, ShareSaved)
            assert (share.attempt, share.shares) == ("4-1", 2)
            assert of_third == []
            async with writing(first) as of_first:
                desk = WriterDesk(first)
                await desk.write(engine, ORDER)
                while not of_first:
                    await trio.lowlevel.checkpoint()
                (mine,) = of_first
                assert isinstance(mine, ShareSaved)
                await desk.seal(Seal(Step(0), "4-1", (mine.files, share.files)))
            saved = of_first[-1]
            assert isinstance(saved, Saved)
            assert isinstance(saved.fact, CheckpointWritten)
            manifest = verify(tmp_path / saved.fact.path)
            assert (manifest.metrics, manifest.provenance.ranks) == ({"eval/loss": 1.5}, WRITERS)
            sizes = [sum(file.size_bytes for file in manifest.files if f"-{index}." in file.name) for index in (0, 1)]
            assert max(sizes) < 1.5 * min(sizes)
            before = await engine.parameter_hash()
            assert saved.fact.parameter_hash == before
            await engine.restore(Restore(Step(0), Cursor(0), {}, saved.fact.path))
            assert await engine.parameter_hash() == before
            assert load(tmp_path / saved.fact.path).optimizer.keys() == (await engine.snapshot()).optimizer.keys()


async def test_a_small_state_is_one_worker_s(tmp_path: Path) -> None:
    equipment = prepare(load_config(write_tiny_config(tmp_path / "config")), tmp_path / "run", rank=0)
    with benches(equipment, tmp_path) as (first, second, _), trio.fail_after(GUARD_SECONDS):
        async with beginning(equipment, tmp_path) as engine:
            async with writing(first) as of_first, writing(second) as of_second:
                await WriterDesk(second).write(engine, ORDER)
                await WriterDesk(first).write(engine, ORDER)
            (saved,) = of_first
            assert isinstance(saved, Saved)
            assert saved.attempt == "4-1"
            assert isinstance(saved.fact, CheckpointWritten)
            assert of_second == []


def test_each_stage_is_written_by_its_twins_and_nothing_twice() -> None:
    first = StateSizes({"embedding": LEAST_SHARE_BYTES, "layer 0": LEAST_SHARE_BYTES}, {})
    last = StateSizes({"layer 1": 8}, {"m.layer 1": 8})
    writers, grid = (Rank(0), Rank(1), Rank(2), Rank(3)), Grid(2)
    shares = [shares_of_stage(last if rank % 2 else first, writers, rank, grid)[rank] for rank in writers]
    assert shares == [Share({"embedding"}), Share({"layer 1"}, {"m.layer 1"}), Share({"layer 0"}), Share()]
    assert {len(shares_of_stage(first, writers, rank, grid)) for rank in writers} == {4}
