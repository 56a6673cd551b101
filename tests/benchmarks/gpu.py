"""One GPU with the real command against a bare compiled MLX loop: a llama of 221 M parameters, or of 6.7 G.

    python -m tests.benchmarks.gpu --model 221m --rounds 2
    python -m tests.benchmarks.gpu --model 7b --rows 4 --no-bare --set model.adapter.type='"lora"'

Rows are `--tokens` predicted positions long, all of them trained, in `--dtype`; the two take turns, and each says its
median step after the warm-up. The bare loop is what a person would write: mlx_lm's model, AdamW, one compiled step.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from runtime.events import DeviceMeasured, RunStarted, StepCommitted
from runtime.ids import Step
from tests.support.run_process import RunProcess, clean_up_when_terminated

GUARD_SECONDS = 540.0
WARM_UP = 5
MODELS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 2},
    "221m": {
        "hidden_size": 1024,
        "num_hidden_layers": 16,
        "intermediate_size": 2816,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "intermediate_size": 11008,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}
VOCABULARY = {"tiny": 512, "221m": 32_000, "7b": 32_000}


def write_config(folder: Path, args: argparse.Namespace) -> Path:
    """Random letters in rows of exactly the wanted length, and a run that does nothing but steps."""
    letters = random.Random(0)
    rows = ["".join(letters.choices(string.ascii_lowercase, k=2 * args.tokens)) for _ in range(64 * args.rows)]
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"instruction": "Go on.", "input": "", "output": row}) + "\n" for row in rows)
    tables = {
        "model": {"dtype": args.dtype, "scratch": {**MODELS[args.model], "vocab_size": VOCABULARY[args.model]}},
        "data": {
            "max_length": args.tokens + 1,
            "overlength": "truncate",
            "mask": "all",
            "pad_multiple": 1,
            "source": [{"path": str(folder / "rows.jsonl"), "format": "alpaca"}],
        },
        "train": {
            "steps": 1_000_000,
            "global_batch_size": args.rows * args.workers,
            "micro_batch_size": args.rows,
            "max_grad_norm": args.max_grad_norm,
            "grad_checkpoint": args.grad_checkpoint,
        },
        "optim": {"lr": 1e-4, "schedule": "constant"},
        "parallel": {"workers": args.workers, "logical_shards": max(args.workers, 1)},
        "sync": {"verify_every": 0},
        "checkpoint": {"every": 0},
        "supervision": {"spare": 0, "hang_floor_s": 300.0},
    }
    path = folder / "gpu.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def ours(config: Path, folder: Path, args: argparse.Namespace, name: str) -> str:
    """The real command for some steps: a line of figures."""
    command = (sys.executable, "-P", "-c", "import sys; from console.cli.main import main; sys.exit(main())")
    settings = [word for each in args.set for word in ("--set", each)]
    with RunProcess(config, folder, name=name, command=command, arguments=settings) as run:
        run.wait_for(StepCommitted, lambda event: event.step == Step(args.steps), within_seconds=GUARD_SECONDS)
        commits = run.events(StepCommitted)[args.warm_up : args.steps]
        started = run.events(RunStarted)[0]
        if args.memory:  # a worker says it when the run ends, after a checkpoint
            run.signal_root(signal.SIGINT)
            run.finish(within_seconds=GUARD_SECONDS)
        peaks = run.events(DeviceMeasured)[-args.workers :] if args.memory else []
    told = [f"worker {each.rank}: peak {_gb(each.peak_bytes)}, planned {_gb(each.planned_bytes)}" for each in peaks]
    seconds = statistics.median(event.seconds for event in commits)
    tokens = commits[0].tokens
    parts = {
        part: statistics.median(getattr(event, f"{part}_seconds") for event in commits) * 1e3
        for part in ("compute", "exchange", "apply", "feed")
    }
    return (
        f"mlx-distributed: {tokens / seconds:,.0f} tokens/s, {seconds * 1e3:.1f} ms a step of {tokens} tokens ("
        + ", ".join(f"{part} {value:.1f}" for part, value in parts.items())
        + f" ms), {started.parameters} parameters, {started.trained_parameters} trained, "
        + f"loss {commits[0].loss:.4f} -> {commits[-1].loss:.4f} {'; '.join(told)}"
    )


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"


def bare(args: argparse.Namespace) -> str:
    """The loop without us: a line of figures."""
    import mlx.core as mx
    import mlx.optimizers as optim
    from mlx import nn
    from mlx_lm.models import llama

    sizes = {"num_key_value_heads": MODELS[args.model]["num_attention_heads"], **MODELS[args.model]}
    more = {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 4096}
    model = llama.Model(llama.ModelArgs.from_dict({**more, **sizes, "vocab_size": VOCABULARY[args.model]}))
    model.set_dtype(getattr(mx, args.dtype))
    mx.eval(model.parameters())
    optimizer = optim.AdamW(1e-4)
    of_model = nn.value_and_grad(model, lambda x, y: nn.losses.cross_entropy(model(x), y).mean())
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(x: mx.array, y: mx.array) -> mx.array:
        loss, gradients = of_model(x, y)
        if args.max_grad_norm:
            gradients, _ = optim.clip_grad_norm(gradients, args.max_grad_norm)
        optimizer.update(model, gradients)
        return loss

    x_BS, y_BS = (mx.random.randint(0, VOCABULARY[args.model], (args.rows, args.tokens)) for _ in "xy")
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        mx.eval(step(x_BS, y_BS), state)
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[args.warm_up :])
    return (
        f"bare loop:       {args.rows * args.tokens / median:,.0f} tokens/s, {median * 1e3:.1f} ms a step; "
        f"peak {mx.get_peak_memory() / 1e9:.1f} GB"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu")
    parser.add_argument("--model", choices=MODELS, default="221m")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=1024, help="predicted positions of a row")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="steps that do not count")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--max-grad-norm", type=float, default=1.0)
    parser.add_argument("--grad-checkpoint", default="none")
    parser.add_argument("--no-bare", action="store_true")
    parser.add_argument("--memory", action="store_true", help="end the run in order, and say its peak beside the plan")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--bare", action="store_true", help="be the bare loop")
    args = parser.parse_args(arguments)
    if args.bare:
        print(bare(args))
        return
    clean_up_when_terminated()
    words = list(arguments) if arguments is not None else sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder, args)
        for number in range(args.rounds):
            if not args.no_bare:
                rival = [sys.executable, "-P", "-m", "tests.benchmarks.gpu", *words, "--bare"]
                print(subprocess.run(rival, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
            print(ours(config, folder, args, f"round-{number}"), flush=True)


if __name__ == "__main__":
    main()
