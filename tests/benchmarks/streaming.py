"""Streaming from a file of 2 GB: how soon, in how much memory, at what price, and whether every line counts once.

    python -P -m tests.benchmarks.streaming [FOLDER] [GIGABYTES]

By hand only: it writes the file into FOLDER (a temporary one) and trains three workers of the quickstart's model on it,
one of which is killed. The first batch is measured with an index that has to be made and with one that is there; memory
is the growth of this process from before the file was opened until 200 batches were taken; a cursor anywhere is asked
for a new plan's batch, as a resumed run does.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tomli_w

from runtime.config.data import DataSettings
from runtime.config.model import ModelSettings
from runtime.data.batches import Shaping
from runtime.data.dataset import Datasets
from runtime.data.feeder import make_batch
from runtime.data.order import SampleOrder
from runtime.data.plan import BatchPlan
from runtime.data.streaming import open_datasets
from runtime.events import StepCommitted
from runtime.flow import StepOrder
from runtime.ids import Cursor, Generation, Rank, Step
from runtime.models.load import load_tokenizer
from tests.support.run_process import COMMAND, RunProcess

BATCH, WINDOW, STEPS, KILL_AT, BATCHES = 48, 64, 12, 4, 200
TRAINED = 12
"""Samples of a step of the run, which is small: what is measured is the loader."""
DISTINCT = 50_000
CURSORS = 20
WITHIN_SECONDS = 1800.0


def write_lines(path: Path, size_bytes: float) -> int:
    """Conversations of 40 to 300 letters, as often as it takes; returns the number of lines."""
    draw, words = random.Random(1), [f"w{number:x}" for number in range(5000)]
    rows = []
    for _ in range(DISTINCT):
        question, answer = (" ".join(draw.choices(words, k=draw.randint(4, 30))) for _ in range(2))
        rows.append(json.dumps({"instruction": question, "output": answer}) + "\n")
    block, written = "".join(rows).encode(), 0
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)
            written += len(rows)
    return written


class Loader:
    """The data of one worker that has all shards."""

    def __init__(self, path: Path, cache: Path) -> None:
        tables = {"streaming": True, "cache_dir": str(cache), "max_length": 512, "source": [{"path": str(path)}]}
        tokenizer = load_tokenizer(ModelSettings())
        self.began = time.perf_counter()
        data = DataSettings.model_validate(tables)
        self.datasets: Datasets = open_datasets(data, tokenizer, window=WINDOW * BATCH)
        order = SampleOrder(0, len(self.datasets.train))
        self.plan = BatchPlan(order, self.datasets.train.lengths, BATCH, WINDOW)

    def batch(self, number: int) -> Any:
        """Global batch `number` of the run."""
        owners = (Rank(0),) * 16
        order = StepOrder(Generation(1), Step(number + 1), Cursor(number * BATCH), BATCH, owners, owners)
        return make_batch(self.datasets.train, self.plan, Shaping(8, 32), order, Rank(0))


def seconds_since(began: float) -> float:
    return time.perf_counter() - began


def measure_loader(path: Path, cache: Path) -> None:
    """First batch, memory, cursors anywhere: one line each."""
    for name in ("first batch, index to be made", "first batch, index there"):
        loader = Loader(path, cache)
        loader.batch(0)
        print(f"{name:32}{seconds_since(loader.began):8.2f} s", flush=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for number in range(BATCHES):
        began = time.perf_counter()
        loader.batch(number)
        seconds.append(seconds_since(began))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{'memory, growth over 200 batches':32}{grown:8.1f} MB; lines {len(loader.datasets.train)}")
    print(f"{'a batch, median and longest':32}{statistics.median(seconds) * 1e3:8.2f} ms {max(seconds) * 1e3:.1f} ms")
    draw = random.Random(2)
    again = []
    for _ in range(CURSORS):
        resumed = Loader(path, cache)
        resumed.batch(draw.randrange(len(resumed.datasets.train) // BATCH - WINDOW))
        again.append(seconds_since(resumed.began))
        resumed.datasets.train.close()  # type: ignore[attr-defined]  # only what is streamed has files
    print(
        f"{'opened and at a random cursor':32}{statistics.median(again) * 1e3:8.1f} ms, longest {max(again) * 1e3:.1f}"
    )


def measure_run(path: Path, cache: Path, folder: Path) -> int:
    """Three workers, one killed: the loader's share of the steps, and the audit's verdict."""
    tables = {
        "model": {"scratch": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}},
        "data": {"streaming": True, "cache_dir": str(cache), "max_length": 512, "source": [{"path": str(path)}]},
        "train": {"steps": STEPS, "global_batch_size": TRAINED, "micro_batch_size": 4},
        "parallel": {"workers": 3},
        "supervision": {"spare": 0},
    }
    config = folder / "streaming.toml"
    config.write_text(tomli_w.dumps(tables))
    with RunProcess(config, folder) as run:
        run.wait_for(StepCommitted, lambda event: event.step == KILL_AT, within_seconds=WITHIN_SECONDS)
        run.signal_worker(Rank(1))
        run.wait_for(StepCommitted, lambda event: event.step == STEPS, within_seconds=WITHIN_SECONDS)
        steps = run.events(StepCommitted)
    quiet = [step for step in steps[1:] if abs(step.step - KILL_AT) > 2]
    share = sum(step.feed_seconds for step in quiet) / sum(step.seconds for step in quiet)
    print(f"{'loader, share of the step':32}{share:8.2%}; step {statistics.median(s.seconds for s in quiet):.2f} s")
    command = [COMMAND, "audit", str(run.run_folder)]
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    print(audit.stdout or audit.stderr)
    return audit.returncode


def main(words: list[str]) -> int:
    """Print the figures; the exit code is the audit's."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(words[0]) if words else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path, cache = folder / "big.jsonl", Path(temporary) / "cache"
        size_bytes = float(words[1] if len(words) > 1 else 2) * 1e9
        if not path.exists() or path.stat().st_size < size_bytes:
            print(f"wrote {write_lines(path, size_bytes)} lines")
        measure_loader(path, cache)
        return measure_run(path, cache, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
