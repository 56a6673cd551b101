"""Peak memory and time of one micro-batch with train.grad_checkpoint none, layer and full, by hand:

    python -P -m tests.benchmarks.activation_checkpointing --layers 16 --hidden 256 --rows 4 --tokens 256

A llama with random weights, every parameter trained; the best time of `--repeats`, and MLX's own peak of memory.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from runtime.models.blas import load_blas


def measured(args: argparse.Namespace, how: str) -> tuple[float, float]:
    """(megabytes above what the parameters take, best seconds) of loss and gradients."""
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
    before, seconds = mx.get_active_memory(), []
    for _ in range(args.repeats):
        mx.clear_cache()
        mx.reset_peak_memory()
        start = time.perf_counter()
        mx.eval(functions.add(parameters, None, tokens_BT, mask_BT))
        seconds.append(time.perf_counter() - start)
    return (mx.get_peak_memory() - before) / 1e6, min(seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="activation_checkpointing")
    for name, default in {"layers": 16, "hidden": 256, "rows": 4, "tokens": 256, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    load_blas()
    print("grad_checkpoint  peak MB  seconds  of the peak  of the time")
    first: tuple[float, float] | None = None
    for how in ("none", "layer", "full"):
        peak, seconds = measured(args, how)
        first = first or (peak, seconds)
        print(f"{how:<15} {peak:>8.1f} {seconds:>8.3f} {peak / first[0]:>12.2f} {seconds / first[1]:>12.2f}")


if __name__ == "__main__":
    main()
