"""A child process with a real limit on its address space: `python -P -m tests.integration.trainer.limited ROWS`.

It computes one batch of eight rows in micro-batches of two without a limit, then again in one of eight with room
for ROWS of them at once, and prints what happened as JSON.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import trio

from runtime.config.model import ScratchSettings
from runtime.config.train import OptimSettings
from runtime.errors import WorkerUnfit
from runtime.events import MicroBatchHalved
from runtime.flow import Batch, Micro
from runtime.ids import Cursor, Rank, ShardId, Step
from runtime.models.scratch import build_model, scratch_config
from runtime.trainer.device_thread import open_device_thread
from runtime.trainer.engine import Local
from runtime.trainer.fitting import Fitting
from runtime.trainer.gradients import trainable
from runtime.trainer.memory import half_a_row
from runtime.trainer.replica import Replica
from runtime.trainer.update import Update

ROWS, SMALL, TOKENS, VOCABULARY = 8, 2, 65, 4096
SHARD = ShardId(0)


def build() -> Any:
    scratch = ScratchSettings(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    return build_model(scratch_config(scratch, vocab_size=VOCABULARY, eos_token_ids=[1], pad_token_id=0), seed=1)


def make_replica() -> Replica:
    model = build()
    update = Update(trainable(model), OptimSettings(), 1.0, compiled=False)
    replica = Replica(model, lambda: trainable(build()), update, 1, deterministic=True, compiled=False)
    replica.begin()
    return replica


def make_batch(rows_at_once: int) -> Batch:
    rng = np.random.default_rng(0)
    tokens_BT = rng.integers(2, VOCABULARY, (ROWS, TOKENS)).astype(np.int32)
    mask_BT = np.ones((ROWS, TOKENS), np.float32)
    mask_BT[:, 0] = 0
    cuts = [slice(start, start + rows_at_once) for start in range(0, ROWS, rows_at_once)]
    micros = tuple(Micro((SHARD,) * rows_at_once, tokens_BT[cut], mask_BT[cut]) for cut in cuts)
    return Batch(Step(1), Cursor(0), (SHARD,), micros, {SHARD: tuple(range(ROWS))}, ROWS * TOKENS, ROWS * TOKENS)


def digest(replica: Replica, local: Local) -> str:
    (flat,) = replica.parts(local, (0, 1)).values()
    return hashlib.blake2b(np.asarray(flat).tobytes(), digest_size=8).hexdigest()


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


async def main(room_for_rows: float) -> None:
    mx.disable_compile()
    said: list[MicroBatchHalved] = []
    async with open_device_thread() as device:
        replica = await device.run(make_replica)
        small = Local(Step(1))
        await device.run(replica.add_gradients, small, make_batch(SMALL))
        expected = await device.run(digest, replica, small)

        def one_row() -> int:
            """Peak of one row at a time, measured without a limit (which also warms up every thread and arena)."""
            mx.reset_peak_memory()
            before = mx.get_active_memory()
            replica.add_gradients(Local(Step(1)), make_batch(1))
            replica.add_gradients(Local(Step(1)), half_a_row(make_batch(1)))
            taken = mx.get_peak_memory() - before
            mx.clear_cache()
            return taken

        row_bytes = await device.run(one_row)
        limit = address_space() + (64 << 20) + int(row_bytes * room_for_rows * 1.1)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        fitting = Fitting(device, replica, Rank(3), said.append)
        local, left = Local(Step(1)), ""
        try:
            await fitting.add_gradients(local, make_batch(ROWS))
            second = Local(Step(2))
            await fitting.add_gradients(second, make_batch(ROWS))  # the smaller size is kept: nothing is said again
        except WorkerUnfit as unfit:
            left = str(unfit)
        found = await device.run(digest, replica, local) if not left else ""
        tallies = [[tally.tokens, list(tally.sample_ids)] for tally in local.tallies.values()]
    rows = [[event.rank, event.rows_before, event.rows] for event in said]
    print(json.dumps({"rows": rows, "same_bits": found == expected, "left": left, "tallies": tallies}))


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]))
