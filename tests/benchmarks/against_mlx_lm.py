"""By hand: one worker of the real command against `mlx_lm.lora`, on the same model, ragged data and BLAS.

    python -P -m tests.benchmarks.against_mlx_lm [--rounds 3] [--kind lora|dora] [--rows 192] [--seed 0] [--set KEY=...]

mlx-lm's own trainer runs in one process over its own datasets and batches; ours is `mlx-distributed run` on what
`config import` makes of the same lora.yaml. Both see every sample once per epoch, so after the same three epochs they
have trained on the same useful tokens (tokens that are a target; padding is none). They take turns, over some rounds.

Useful tokens per second of the wall clock is the figure to hold (1.25): between the end of the first epoch, when
nearly every shape of batch is compiled, and the end of the last, best of the rounds. Seconds of the processor stand
beside it: all processes of ours, root and coordinator included, against their one; on a busy machine they are the
figure that means something. Held-out loss: both adapters over the same base, by one plain loop, sample by sample.
Batches of like length, `--set data.window=64 --set train.micro_batch_size=8`, learn less from so few steps
(runtime/config/from_mlx_lm.py has the figures).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.repository import ROOT
from tests.support.run_process import RunProcess

BATCH, EPOCHS, HELD_OUT = 8, 3, 48
BAR = 1.25
GUARD_SECONDS = 7200.0
MARGIN_STEPS = 6
"""Of ours, at the end: the processes' seconds are read while they are still there."""
ONE_BLAS_THREAD = {"PYTHON_CPU_COUNT": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
CLI = Path(sys.executable).with_name("mlx-distributed")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Speed:
    """What one turn made of two epochs."""

    wall: float
    """Useful tokens per second of the wall clock."""
    processor: float
    """Useful tokens per second of the processor."""
    computed: float
    """Useful tokens as a fraction of all positions that were computed."""


def write_data(folder: Path, rows: int) -> None:
    """Conversations of one to twelve turns, most of them short: ragged, and learnable."""
    pairs = [json.loads(line) for line in (ROOT / "configs/data/quickstart-train.jsonl").read_text().splitlines()]
    draw = random.Random(0)
    folder.mkdir()
    for name, count in (("train", rows), ("valid", HELD_OUT)):
        lines = []
        for _ in range(count):
            turns = min(12, 1 + int(draw.expovariate(1 / 2.5)))
            messages = []
            for pair in draw.sample(pairs, turns):
                messages.append({"role": "user", "content": f"{pair['instruction']} {pair['input']}"})
                messages.append({"role": "assistant", "content": pair["output"]})
            lines.append(json.dumps({"messages": messages}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def write_lora(folder: Path, kind: str, rows: int, seed: int) -> None:
    """The one configuration that both read."""
    lora = {
        "model": "model", "data": "data", "train": True, "fine_tune_type": kind, "optimizer": "adam",
        "optimizer_config": {"adam": {"bias_correction": True}}, "learning_rate": 1e-3, "batch_size": BATCH,
        "seed": seed, "iters": rows // BATCH * EPOCHS, "num_layers": -1, "val_batches": 0, "steps_per_report": 10,
        "save_every": 100000, "max_seq_length": 2048, "lora_parameters": {"rank": 8, "scale": 20.0, "dropout": 0.0},
    }  # fmt: skip
    (folder / "lora.yaml").write_text(yaml.safe_dump(lora, sort_keys=False))


def write_model(folder: Path) -> None:
    """A llama of the quickstart's size with random weights."""
    from mlx.utils import tree_flatten

    from runtime.config.model import ModelSettings, ScratchSettings
    from runtime.models.load import load_model, write_model_folder

    scratch = ScratchSettings(hidden_size=128, num_hidden_layers=4, num_attention_heads=2, intermediate_size=384)
    loaded = load_model(ModelSettings(scratch=scratch), seed=0, dtype="float32")
    write_model_folder(folder, loaded, dict(tree_flatten(loaded.model.parameters())))


def run_theirs(folder: Path) -> Speed:
    """`mlx_lm.lora`'s trainer in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-P", "-m", "tests.benchmarks.against_mlx_lm", "--theirs"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    batches = json.loads((folder / "batches.json").read_text())
    first = len(batches) // EPOCHS
    wall = batches[-1]["wall"] - batches[first]["wall"]
    processor = batches[-1]["processor"] - batches[first]["processor"]
    tokens = sum(batch["useful"] for batch in batches[first:-1])
    return Speed(tokens / wall, tokens / processor, tokens / sum(batch["computed"] for batch in batches[first:-1]))


def run_ours(folder: Path, name: str, steps: int, further: Sequence[str] = ()) -> Speed:
    """`mlx-distributed run` with one worker and `further` settings; only the last step is written."""
    from runtime.events import StepCommitted
    from runtime.ids import Step

    settings = ("parallel.workers=1", "supervision.spare=0", "checkpoint.every=0", "eval.every=0", *further)
    words = [word for setting in settings for word in ("--set", setting)]
    with RunProcess(folder / "ours.toml", folder, name=name, arguments=words) as run:

        def now(step: int) -> tuple[int, float]:
            """Steps and seconds of the processor when this step was there."""
            run.wait_for(StepCommitted, lambda event: event.step >= Step(step), within_seconds=GUARD_SECONDS)
            return len(run.events(StepCommitted)), sum(processor_seconds(seen.pid) for seen in run.alive())

        begin, before = now(steps // EPOCHS)
        end, after = now(steps - MARGIN_STEPS)
        if run.finish(within_seconds=GUARD_SECONDS):
            raise SystemExit(run.tail())
        events = run.events(StepCommitted)
    counted = events[begin:end]
    timed = events[steps // EPOCHS :]
    useful = sum(step.useful_tokens for step in timed)
    return Speed(
        useful / sum(step.seconds for step in timed),
        sum(step.useful_tokens for step in counted) / (after - before),
        useful / sum(step.computed_positions for step in timed),
    )


def processor_seconds(pid: int) -> float:
    """Of a process and the children that it waited for; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS


def theirs() -> None:
    """Be mlx-lm: what `mlx_lm.lora` does, with the moments at which it asks for a batch written down."""
    from runtime.models.blas import load_blas

    load_blas(1)
    import mlx.core as mx
    import mlx.optimizers as optim
    import numpy as np
    from mlx_lm import load
    from mlx_lm.lora import CONFIG_DEFAULTS
    from mlx_lm.tuner import trainer
    from mlx_lm.tuner.datasets import CacheDataset, load_dataset
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import save_config

    args: Any = argparse.Namespace(**(CONFIG_DEFAULTS | yaml.safe_load(Path("lora.yaml").read_text())))
    model, tokenizer = load(args.model)[:2]
    args.num_layers = len(model.layers)
    np.random.seed(args.seed)
    mx.random.seed(args.seed)
    model.freeze()
    linear_to_lora_layers(model, args.num_layers, args.lora_parameters, use_dora=args.fine_tune_type == "dora")
    folder = Path("theirs")
    folder.mkdir(exist_ok=True)
    save_config(vars(args), folder / "adapter_config.json")
    batches: list[dict[str, float]] = []

    def stamp(useful: int, computed: int) -> None:
        moment = {"wall": time.perf_counter(), "processor": time.process_time()}
        batches.append({**moment, "useful": useful, "computed": computed})

    def recorded(**options: Any) -> Any:
        for tokens, lengths in trainer.iterate_batches(**options):
            rows, width = tokens.shape
            stamp(int(lengths[:, 1].sum().item()) - rows, rows * (width - 1))
            yield tokens, lengths

    settings = trainer.TrainingArgs(
        batch_size=args.batch_size, iters=args.iters, steps_per_report=args.steps_per_report,
        steps_per_save=args.save_every, max_seq_length=args.max_seq_length,
        adapter_file=folder / "adapters.safetensors",
    )  # fmt: skip
    optimizer = optim.Adam(args.learning_rate, bias_correction=True)
    train, _, _ = load_dataset(args, tokenizer)
    trainer.train(model, optimizer, CacheDataset(train), args=settings, iterate_batches=recorded)
    if len(batches) == args.iters:  # else the trainer asked for one batch more than it used
        stamp(0, 0)
    Path("batches.json").write_text(json.dumps(batches))


def held_out_loss(folder: Path, adapter: Path | None) -> float:
    """Nats per token over valid.jsonl, sample by sample, with mlx-lm's own loading of base and adapter."""
    import mlx.core as mx
    from mlx import nn
    from mlx_lm import load

    model, tokenizer = load(str(folder / "model"), adapter_path=None if adapter is None else str(adapter))[:2]
    model.eval()
    total, count = 0.0, 0
    for line in (folder / "data" / "valid.jsonl").read_text().splitlines():
        ids = mx.array(tokenizer.apply_chat_template(json.loads(line)["messages"]))[None]
        total += nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:], reduction="sum").item()
        count += ids.size - 1
    return total / count


def compare(rounds: int, kind: str, rows: int, seed: int, further: Sequence[str]) -> None:
    """Take turns, and say what came out."""
    os.environ.update(ONE_BLAS_THREAD)
    from runtime.models.blas import load_blas

    load_blas(1)
    with tempfile.TemporaryDirectory(prefix="against-mlx-lm-") as name:
        folder = Path(name)
        write_data(folder / "data", rows)
        write_model(folder / "model")
        write_lora(folder, kind, rows, seed)
        subprocess.run([CLI, "config", "import", "lora.yaml", "--output", "ours.toml"], cwd=folder, check=True)
        mine: list[Speed] = []
        other: list[Speed] = []
        for number in range(rounds):
            other.append(run_theirs(folder))
            print(f"  mlx-lm {other[-1]}", flush=True)
            mine.append(run_ours(folder, f"round-{number}", rows // BATCH * EPOCHS, further))
            print(f"  ours   {mine[-1]}", flush=True)
        for what in ("wall", "processor"):
            best_mine, best_other = (max(getattr(speed, what) for speed in speeds) for speeds in (mine, other))
            ratio = best_mine / best_other
            print(f"useful tokens/s, {what}: mlx_lm.lora {best_other:,.0f}, ours {best_mine:,.0f}: {ratio:.2f} ({BAR})")
        run = f"runs/round-{rounds - 1}"
        subprocess.run([CLI, "checkpoints", "export", run, "ours"], cwd=folder, check=True)
        adapters = {"before": None, "mlx-lm": folder / "theirs", "ours": folder / "ours"}
        for who, adapter in adapters.items():
            print(f"held-out loss, {who}: {held_out_loss(folder, adapter):.4f}", flush=True)


def main() -> None:
    """Print the comparison; or, with `--theirs`, be mlx-lm."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=("lora", "dora"), default="lora")
    parser.add_argument("--rows", type=int, default=192, help=f"training samples, a multiple of {BATCH}")
    parser.add_argument("--seed", type=int, default=0, help="of the adapter and of the order of the samples")
    parser.add_argument("--set", dest="further", action="append", default=[], help="of ours: TABLE.KEY=VALUE")
    parser.add_argument("--theirs", action="store_true")
    given = parser.parse_args()
    if given.theirs:
        theirs()
    else:
        compare(given.rounds, given.kind, given.rows, given.seed, given.further)


if __name__ == "__main__":
    main()
