"""A whole epoch of a file of 2 GB, streamed by three workers of which one is killed: does every id come exactly once?

    python -P -m tests.benchmarks.streamed_epoch [FOLDER] [GIGABYTES]

By hand only: it writes the file into FOLDER (a temporary one), trains one epoch of a very small model on it, kills a
worker after a third of the steps, and asks two judges that share no code: `mlx-distributed audit`, and a count of the
ids in the journal. A line is a short text beside a column that nobody trains on, so that the file is large and an epoch
of it short: what is proven is about ids, offsets and shards, not about tokens.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import tomli_w

from runtime.events import RolledBack, StepCommitted, WorkerJoined, WorkerLost
from runtime.ids import Rank
from tests.support.run_process import COMMAND, RunProcess

WORKERS, GLOBAL_BATCH, MICRO_BATCH = 3, 4096, 512
LETTERS = 2000
"""Of the column beside a text, on the average."""
DISTINCT = 1000
MOST_MISSED = 5
"""Ids that are printed of those that did not come once."""
WITHIN_SECONDS = 3600.0


def write_lines(path: Path, size_bytes: float) -> int:
    """Lines of 0.3 to 4 kB, each text with its own number; returns how many there are."""
    draw, words = random.Random(1), [f"w{number:x}" for number in range(5000)]
    asides = [json.dumps(" ".join(draw.choices(words, k=draw.randint(50, LETTERS // 3)))) for _ in range(DISTINCT)]
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size_bytes:
            file.writelines(f'{{"text": "line {written + at}", "aside": {aside}}}\n' for at, aside in enumerate(asides))
            written += len(asides)
    return written


def train(path: Path, folder: Path, lines: int) -> RunProcess:
    """Run the command over one epoch and kill a worker on the way; returns the ended run."""
    tables = {
        "model": {
            "scratch": {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 16,
            }
        },
        "data": {
            "streaming": True,
            "cache_dir": str(folder / "cache"),
            "max_length": 17,
            "overlength": "truncate",
            "pad_multiple": 16,
            "source": [{"path": str(path), "format": "text"}],
        },
        "train": {"epochs": 1.0, "global_batch_size": GLOBAL_BATCH, "micro_batch_size": MICRO_BATCH},
        "parallel": {"workers": WORKERS},
        "checkpoint": {"every": 100},
        "supervision": {"spare": 0, "hang_floor_s": 600.0},  # a busy machine is no fault
    }
    config = folder / "epoch.toml"
    config.write_text(tomli_w.dumps(tables))
    third = -(-lines // GLOBAL_BATCH) // 3
    with RunProcess(config, folder) as run:
        run.wait_for(StepCommitted, lambda event: event.step >= third, within_seconds=WITHIN_SECONDS)
        run.signal_worker(Rank(1))
        lost = run.wait_for(WorkerLost, within_seconds=WITHIN_SECONDS)
        print(f"rank {lost.rank} killed after step {third}")
        code = run.finish(within_seconds=WITHIN_SECONDS)
        assert code == 0, run.tail()
    return run


def count_ids(run: RunProcess, lines: int) -> int:
    """Print how often ids came according to the journal alone; returns how many did not come exactly once."""
    committed = {event.step: event for event in run.events(StepCommitted)}
    taken = Counter(one for event in committed.values() for shard in event.sample_ids for one in shard)
    odd = sorted((set(range(lines)) | set(taken)) - {one for one, times in taken.items() if times == 1})
    print(
        f"{lines} lines, {len(committed)} steps, {sum(taken.values())} ids named, {len(odd)} of them not exactly once"
    )
    print(f"rollbacks {len(run.events(RolledBack))}, workers joined {len(run.events(WorkerJoined))}")
    if odd:
        print(f"for example {odd[:MOST_MISSED]}")
    return len(odd)


def main(words: list[str]) -> int:
    """Print the figures; 0 if both judges find every id exactly once."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(words[0]) if words else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "big.jsonl"
        lines = write_lines(path, float(words[1] if len(words) > 1 else 2) * 1e9)
        print(f"{path.stat().st_size / 1e9:.2f} GB, {lines} lines", flush=True)
        began = time.perf_counter()
        run = train(path, folder, lines)
        print(f"one epoch in {time.perf_counter() - began:.0f} s")
        odd = count_ids(run, lines)
        audit = subprocess.run([COMMAND, "audit", str(run.run_folder)], capture_output=True, text=True, check=False)
        print(audit.stdout or audit.stderr)
        path.unlink()
        return int(odd > 0 or audit.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
