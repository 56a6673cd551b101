"""Peak memory and time of one micro-batch with train.grad_checkpoint none, layer and full, by hand:

    python -P -m tests.benchmarks.activation_checkpointing --layers 16 --hidden 256 --rows 4 --tokens 256

A llama with random weights, every parameter trained; the best time of `--repeats`, and MLX's own peak of memory.
`busy` is the processor's time on all threads: on a machine with other work it says more than the clock.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from runtime.models.blas import load_blas


def measured(args: argparse.Namespace, how: str) -> tuple[float, float, float]:
    """(megabytes above what the parameters take, best seconds by the clock, and busy) of loss and gradients."""
    import mlx.core as mx

    from runtime.config.model import ModelSettings, ScratchSettings
    from runtime.models.load import load_model
    from runtime.trainer.gradients import GradientFunctions, trainable

    sizes: dict[str, Any] = {"hidden_size": args.hidden, "intermediate_size": 3 * args.hidden}
    scratch = ScratchSettings(num_hidden_layers=args.layers, num_attention_heads=args.hidden // 64, **sizes)
    model = load_model(ModelSettings(scratch=scratch), 0).model
    model.train()
    parameters = trainable(model)
    functions = GradientFunctions(model, compiled=args.compile, recompute=how)
    tokens_BT = np.random.default_rng(0).integers(0, 256, (args.rows, args.tokens + 1)).astype(np.int32)
    mask_BT = np.ones_like(tokens_BT, np.float32)
    before, seconds, busy = mx.get_active_memory(), [], []
    for _ in range(args.repeats):
        mx.clear_cache()
        mx.reset_peak_memory()
        start, start_busy = time.perf_counter(), time.process_time()
        mx.eval(functions.add(parameters, None, tokens_BT, mask_BT))
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    return (mx.get_peak_memory() - before) / 1e6, min(seconds), min(busy)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="activation_checkpointing")
    for name, default in {"layers": 16, "hidden": 256, "rows": 4, "tokens": 256, "repeats": 3, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    load_blas(args.threads)
    print("grad_checkpoint  peak MB  seconds     busy  of the peak  of the time  of busy")
    first: tuple[float, float, float] | None = None
    for how in ("none", "layer", "full"):
        found = measured(args, how)
        first = first or found
        parts = [mine / its for mine, its in zip(found, first, strict=True)]
        print(
            f"{how:<15} {found[0]:>8.1f} {found[1]:>8.3f} {found[2]:>8.3f} {parts[0]:>12.2f} {parts[1]:>12.2f}"
            f" {parts[2]:>8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
