"""The CUDA kernel of `row_logsumexp` against MLX's own in float32: `python -m tests.benchmarks.logsumexp`. Needs CUDA.

Ends with an assertion where the two differ by more than float32 sums may, or where the same rows give other bits.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import mlx.core as mx

from runtime.trainer.logsumexp import has_kernel, row_logsumexp

SHAPES = ((1, 8), (3, 7, 41), (5, 33), (2, 1000), (4, 128_256), (16, 1024, 32_000))
TOLERANCE = 2e-6
"""Relative: a float32 sum of a hundred thousand exponentials in two orders."""
TURNS = 20


def widened(rows: mx.array) -> mx.array:
    """MLX's own, of a float32 copy."""
    return mx.logsumexp(rows.astype(mx.float32), axis=-1)


def difference(rows: mx.array) -> float:
    """The largest relative difference of the two forms over the rows."""
    found, wanted = row_logsumexp(rows), widened(rows)
    assert (found.dtype, found.shape) == (mx.float32, wanted.shape)
    assert bool(mx.array_equal(found, row_logsumexp(rows)).item()), "the same rows gave other bits"
    return float((mx.abs(found - wanted) / mx.maximum(mx.abs(wanted), 1.0)).max().item())


def seconds(function: Callable[[mx.array], mx.array], rows: mx.array) -> float:
    """Median of some turns."""
    taken = []
    for _ in range(TURNS):
        began = time.perf_counter()
        mx.eval(function(rows))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    """A line for each shape and dtype."""
    assert has_kernel(), "there is no CUDA here"
    for shape in SHAPES:
        for dtype in (mx.bfloat16, mx.float16):
            rows = (mx.random.normal(shape) * 6).astype(dtype)
            mx.eval(rows)
            worst = difference(rows)
            assert worst < TOLERANCE, worst
            told = f"{seconds(row_logsumexp, rows) * 1e3:.3f} ms against {seconds(widened, rows) * 1e3:.3f} ms"
            print(f"{shape} {dtype}: {worst:.1e} relative at most; {told}", flush=True)
    extreme = mx.array([[-mx.inf, 2.0, -mx.inf, 2.0], [3e4, -3e4, 3e4, 3e4]]).astype(mx.bfloat16)
    assert difference(extreme) < TOLERANCE
    for bad in (mx.nan, mx.inf):
        assert not bool(mx.isfinite(row_logsumexp(mx.array([[0.0, bad, 1.0]]).astype(mx.bfloat16))).item())
    print("rows with infinities and NaN: as they should be")


if __name__ == "__main__":
    main()
