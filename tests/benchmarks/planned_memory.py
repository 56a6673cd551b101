"""What the plan says against the most that MLX holds, for steps of one worker of tiny models in this process, by hand:

    python -P -m tests.benchmarks.planned_memory
    python -P -m tests.benchmarks.planned_memory --only "two, sharded" --width 384 --layers 3

There is no network: where there are more workers, one of them computes its part, and takes that for the sum.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trio

from runtime.cluster.messages import Verdict
from runtime.cluster.slices import SLICES, Portion, copies_of, deal_slices, held_by
from runtime.config.schema import Config
from runtime.flow import Batch, CommittedStep, Packing, StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.models.blas import load_blas
from tests.benchmarks.bare_loop import ONE_BLAS_THREAD
from tests.support.tiny import write_sums

ROWS, TOKENS = 8, 128
PACKED: dict[str, dict[str, Any]] = {"data": {"batching": "pack"}}
RUNS: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {
    "full": (1, {}),
    "layers checkpointed": (1, {"train": {"grad_checkpoint": "layer"}}),
    "segments checkpointed": (1, {"train": {"grad_checkpoint": "full"}}),
    "accumulated": (1, {"train": {"micro_batch_size": 2}}),
    "bfloat16": (1, {"model": {"dtype": "bfloat16"}}),
    "deterministic": (1, {"run": {"deterministic": True}}),
    "lora": (1, {"model": {"adapter": {"type": "lora"}}}),
    "lora, 4 bits": (1, {"model": {"adapter": {"type": "lora"}, "quantize_bits": 4}}),
    "packed": (1, PACKED),
    "rows of 512": (1, {"data": {"max_length": 512}, "train": {"micro_batch_size": 2}}),
    "packed, rows of 512": (1, {"data": {**PACKED["data"], "max_length": 512}, "train": {"micro_batch_size": 2}}),
    "packed, layers checkpointed": (1, {**PACKED, "train": {"grad_checkpoint": "layer"}}),
    "packed, accumulated": (1, {**PACKED, "train": {"micro_batch_size": 2}}),
    "packed, deterministic": (1, {**PACKED, "run": {"deterministic": True}}),
    "two": (2, {}),
    "two, sharded": (2, {"parallel": {"shard_optimizer": True}}),
    "four, sharded": (4, {"parallel": {"shard_optimizer": True}}),
    "two, sharded, bfloat16": (2, {"parallel": {"shard_optimizer": True}, "model": {"dtype": "bfloat16"}}),
}
"""Workers, and what differs from the defaults."""


def config_of(name: str, folder: Path, args: argparse.Namespace) -> Config:
    """The configuration of one line of the table."""
    workers, extra = RUNS[name]
    sizes = {"hidden_size": args.width, "num_hidden_layers": args.layers, "intermediate_size": 2 * args.width}
    tables: dict[str, dict[str, Any]] = {
        "model": {"scratch": {**sizes, "num_attention_heads": 4}},
        "data": {"max_length": TOKENS, "source": [{"path": str(folder / "train.jsonl")}]},
        "train": {"steps": 2, "epochs": 0.0, "global_batch_size": ROWS, "micro_batch_size": ROWS},
        "parallel": {"workers": workers, "logical_shards": ROWS},
    }
    for table, keys in extra.items():
        tables[table] = {**tables.get(table, {}), **keys}
    return Config.model_validate(tables)


def longest(batch: Batch, config: Config) -> Batch:
    """The same rows, each as long as the plan assumes; of packed ones as many as it assumes, all but one empty."""
    random = np.random.default_rng(0)
    micros = []
    for micro in batch.micros:
        rows = len(micro.shards) if micro.packing is None else config.rows_at_once
        if config.run.deterministic:
            rows = 1
        shape = rows, config.data.max_length + 1
        mask_BT = np.ones(shape, np.float32)
        mask_BT[:, 0] = 0
        tokens_BT = random.integers(2, 200, shape).astype(np.int32)
        packing, shards = micro.packing, micro.shards
        if packing is not None:
            samples = tuple(sample for row in packing.samples for sample in row)
            segments_BT = np.zeros(shape, np.int32)
            segments_BT[0] = 1 + np.arange(shape[1]) * len(samples) // shape[1]
            packing = Packing(segments_BT, np.zeros(shape, np.int32), (samples, *[()] * (rows - 1)))
            shards = (micro.shards[0],) * rows
        micros.append(replace(micro, shards=shards, tokens_BT=tokens_BT, mask_BT=mask_BT, packing=packing))
    return replace(batch, micros=tuple(micros))


def measured(config: Config, folder: Path) -> tuple[int, int, int]:
    """(planned bytes, peak of a step, bytes per trained element while gradients are summed and applied)."""
    import mlx.core as mx

    from runtime.app.equipment import prepare
    from runtime.trainer.engine import Local

    equipment = prepare(config, folder, 1)
    replica, workers = equipment.replica, config.parallel.workers
    ranks = tuple(Rank(rank) for rank in range(workers))
    owners = tuple(Rank(shard * workers // equipment.shards) for shard in range(equipment.shards))
    sharded = config.parallel.shard_optimizer
    keepers = deal_slices(ranks, ((),) * SLICES, copies_of(workers, config.parallel.replicas)) if sharded else ()
    replica.begin(held_by(ranks[0], keepers))
    order = StepOrder(Generation(1), Step(1), Cursor(0), ROWS, owners, ranks)
    batch = longest(trio.run(equipment.feeder().take, order, ranks[0]), config)
    mx.reset_peak_memory()
    local = Local(order.step, alone=workers == 1)
    replica.add_gradients(local, batch)
    peak = mx.get_peak_memory()
    mx.reset_peak_memory()
    summed = next(iter(replica.parts(local, (0, 1)).values())).copy() if workers > 1 else None
    found = replica.measure(local, summed, Portion(ranks[0], keepers) if sharded else None)
    committed = CommittedStep(order.step, True, ROWS * TOKENS, 1.0, found.square_sum**0.5 / (ROWS * TOKENS))
    replica.apply(Verdict(committed, 1e-3, 1), Cursor(ROWS), {})
    mx.eval(replica.trained, replica.state.optimizer if replica.state is not None else {})
    after = mx.get_peak_memory()
    return equipment.planned_bytes, max(peak, after), round(after / replica.update.layout.size)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="planned_memory")
    parser.add_argument("--only", choices=RUNS)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    args = parser.parse_args()
    os.environ.update(ONE_BLAS_THREAD)
    load_blas(1)
    print("                          planned MB   peak MB  peak/plan  bytes per element beside activations")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sums(folder / "train.jsonl", 400)
        for run in [args.only] if args.only else RUNS:
            planned, peak, each = measured(config_of(run, folder, args), folder)
            figures = f"{planned / 1e6:>10.1f} {peak / 1e6:>9.1f} {peak / planned:>10.2f} {each:>10d}"
            print(f"{run:<25} {figures}", flush=True)


if __name__ == "__main__":
    main()
