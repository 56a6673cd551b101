"""The engine behind its thread, and what a share of an evaluation is: with a tiny model, real data and a real disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from runtime.app.equipment import Equipment, prepare
from runtime.checkpoint.draft import write_checkpoint
from runtime.checkpoint.hashing import parameter_hash
from runtime.checkpoint.manifest import Provenance
from runtime.cluster.messages import Evaluated, EvaluateWork, Restore, Verdict
from runtime.config.load import load_config
from runtime.errors import CheckpointError
from runtime.flow import CommittedStep, Snapshot, StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.metrics.scoring import scores
from runtime.trainer.device_engine import DeviceEngine
from runtime.trainer.device_thread import DeviceThread, open_device_thread
from runtime.trainer.engine import Local
from tests.support.tiny import GLOBAL_BATCH, write_sums, write_tiny_config
from tests.unit.trainer.test_exactness import state_bits

HELD_OUT = 21


@pytest.fixture
async def device() -> AsyncIterator[DeviceThread]:
    async with open_device_thread() as thread:
        yield thread
        await thread.run(mx.enable_compile)  # preparing a short run on a CPU switches it off for the process


@pytest.fixture
async def equipment(device: DeviceThread, tmp_path: Path) -> Equipment:
    write_sums(tmp_path / "heldout.jsonl", HELD_OUT)
    extra: dict[str, dict[str, Any]] = {
        "data": {
            "max_length": 128,
            "source": [{"path": str(tmp_path / "train.jsonl")}],
            "eval": {"path": str(tmp_path / "heldout.jsonl")},
        },
        "eval": {"generate": {"max_tokens": 4, "metrics": ["exact_match", "bleu", "rougeL"]}},
    }
    config = load_config(write_tiny_config(tmp_path, extra=extra))
    return await device.run(prepare, config, tmp_path, 0)


@pytest.fixture
def engine(equipment: Equipment, device: DeviceThread, tmp_path: Path) -> DeviceEngine:
    return DeviceEngine(device, equipment.replica, equipment.held_out, tmp_path, Rank(0))


def restore_to(step: int, path: str = "", cursor: int = 0) -> Restore:
    return Restore(Step(step), Cursor(cursor), {}, path)


async def one_step(engine: DeviceEngine, equipment: Equipment, step: int) -> Local:
    shards = equipment.shards
    head = Generation(1), Step(step), engine.cursor, GLOBAL_BATCH
    batch = await equipment.feeder().take(StepOrder(*head, (Rank(0),) * shards, (Rank(0),)), Rank(0))
    local = Local(Step(step))
    await engine.add_gradients(local, batch)
    measured = await engine.measure(local, None)
    assert measured.finite
    assert engine.has_prepared(Step(step))
    tokens = sum(tally.tokens for tally in local.tallies.values())
    verdict = Verdict(CommittedStep(Step(step), True, tokens, 1.0, measured.square_sum**0.5 / tokens), 1e-2, step)
    await engine.apply(verdict, Cursor(engine.cursor + GLOBAL_BATCH), {"applied": step})
    return local


async def test_without_a_state_it_holds_nothing(engine: DeviceEngine) -> None:
    assert (engine.holds, engine.cursor, engine.counters) == (-1, 0, {})


async def test_a_step_moves_the_state_the_cursor_and_the_counters(engine: DeviceEngine, equipment: Equipment) -> None:
    size_bytes = await engine.restore(restore_to(0))
    assert size_bytes == 3 * 4 * equipment.elements
    assert (engine.holds, engine.cursor) == (0, 0)
    before = await engine.parameter_hash()
    local = await one_step(engine, equipment, 1)
    assert (engine.holds, engine.cursor, engine.counters) == (1, GLOBAL_BATCH, {"applied": 1})
    assert not engine.has_prepared(Step(1))
    assert await engine.parameter_hash() != before
    assert local.useful_tokens <= local.computed_positions


async def test_a_prepared_gradient_can_be_discarded_and_prepared_again(
    engine: DeviceEngine, equipment: Equipment
) -> None:
    await engine.restore(restore_to(0))
    order = StepOrder(Generation(1), Step(1), Cursor(0), GLOBAL_BATCH, (Rank(0),) * equipment.shards, (Rank(0),))
    local = Local(Step(1))
    await engine.add_gradients(local, await equipment.feeder().take(order, Rank(0)))
    first = await engine.measure(local, None)
    engine.discard(Step(1))
    engine.discard(Step(1))
    assert not engine.has_prepared(Step(1))
    (flat,) = (await engine.parts(local)).values()
    assert await engine.measure(local, flat) == first
    assert engine.has_prepared(Step(1))


async def test_a_checkpoint_restores_every_bit(engine: DeviceEngine, equipment: Equipment, tmp_path: Path) -> None:
    await engine.restore(restore_to(0))
    await one_step(engine, equipment, 1)
    snapshot = await engine.snapshot()
    provenance = Provenance("tiny", "llama", "", "adamw", Generation(1), (Rank(0),))
    manifest = write_checkpoint(snapshot, tmp_path / "checkpoints", provenance)
    expected = state_bits(snapshot)
    engine.forget()
    assert engine.holds == -1
    await engine.restore(restore_to(1, "checkpoints/step-00000001", 3 * GLOBAL_BATCH))
    assert state_bits(await engine.snapshot()) == expected
    assert (engine.holds, engine.cursor) == (1, 3 * GLOBAL_BATCH)  # the order's: a run may go on past some samples
    assert await engine.parameter_hash() == manifest.parameter_hash == parameter_hash(snapshot.parameters)


async def test_a_checkpoint_that_is_not_there_is_refused(engine: DeviceEngine) -> None:
    with pytest.raises(CheckpointError):
        await engine.restore(restore_to(7, "checkpoints/step-00000007"))


async def test_a_peer_s_state_is_adopted_and_the_initial_one_can_come_back(
    engine: DeviceEngine, equipment: Equipment
) -> None:
    await engine.restore(restore_to(0))
    initial = await engine.snapshot()
    await one_step(engine, equipment, 1)
    later = await engine.parameter_hash()
    assert later != parameter_hash(initial.parameters)
    trained = await engine.snapshot()
    engine.forget()
    await engine.restore(restore_to(0))
    assert await engine.parameter_hash() == parameter_hash(initial.parameters)
    raw = {name: (np.array(value), "F32") for name, value in trained.parameters.items()}
    moments = {name: (np.array(value), "F32") for name, value in trained.optimizer.items()}
    await engine.adopt(Snapshot(Step(1), trained.cursor, raw, moments, trained.counters))  # as it comes off the wire
    assert state_bits(await engine.snapshot()) == state_bits(trained)
    assert (engine.holds, engine.cursor) == (1, GLOBAL_BATCH)


async def evaluated(engine: DeviceEngine, rank: int, workers: int, answers: int, max_batches: int = 0) -> Evaluated:
    work = EvaluateWork(tuple(Rank(each) for each in range(workers)), answers, max_batches)
    return await engine.evaluate(work, Rank(rank), Generation(3))


@pytest.mark.parametrize("max_batches", [0, 1])
async def test_the_shares_of_an_evaluation_add_up_to_the_whole(
    engine: DeviceEngine, equipment: Equipment, max_batches: int
) -> None:
    await engine.restore(restore_to(0))
    whole = await evaluated(engine, 0, 1, answers=5, max_batches=max_batches)
    shares = [await evaluated(engine, rank, 3, answers=5, max_batches=max_batches) for rank in range(3)]
    assert sum(share.tokens for share in shares) == whole.tokens
    assert sum(share.correct for share in shares) == whole.correct
    assert sum(share.loss_sum for share in shares) == pytest.approx(whole.loss_sum, rel=1e-12)
    assert sorted((one.index, one.answer) for share in shares for one in share.answers) == sorted(
        (one.index, one.answer) for one in whole.answers
    )
    assert scores(share.sums for share in shares) == scores([whole.sums])
    assert set(whole.sums) == {"exact_match", "bleu", "rougeL"}
    held_out = equipment.datasets.held_out
    assert whole.tokens == held_out.trained_tokens if max_batches == 0 else 0 < whole.tokens < held_out.trained_tokens
    assert (whole.generation, whole.step) == (3, 0)
    assert [one.index for one in whole.answers] == [0, 4, 8, 12, 16]
    assert all(one.prompt.startswith("Add ") and one.expected.isdigit() for one in whole.answers)


async def test_an_evaluation_without_answers_and_without_a_share_is_zero(engine: DeviceEngine) -> None:
    await engine.restore(restore_to(0))
    last = await evaluated(engine, 29, 30, answers=0)
    assert (last.loss_sum, last.tokens, last.correct, last.answers, last.sums) == (0.0, 0, 0, (), {})


async def test_an_evaluation_leaves_the_state_and_a_step_after_it_alone(
    engine: DeviceEngine, equipment: Equipment
) -> None:
    await engine.restore(restore_to(0))
    await one_step(engine, equipment, 1)
    expected = await engine.parameter_hash()
    engine.forget()
    await engine.restore(restore_to(0))
    await evaluated(engine, 0, 1, answers=2)
    await one_step(engine, equipment, 1)
    assert await engine.parameter_hash() == expected
