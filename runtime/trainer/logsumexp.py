"""log(sum(exp(z))) of each row in float32, without a float32 copy of 16-bit rows where CUDA can do it in one pass.

MLX reduces in the dtype that it is given, and bfloat16 keeps 3 digits of a loss; so 16-bit logits have to be widened,
which writes and reads twice their size for every step. The kernel here reads each logit once. A block has a row: each
thread keeps the highest value that it met and the sum of exponentials relative to it (the "online" softmax of Milakov
and Gimelshein, 2018), and these pairs are joined in a fixed order, so that the same row gives the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mlx.core as mx

THREADS = 256
"""Of a block, that is, of a row."""

_JOIN = """
__device__ __forceinline__ void join_pair(float& top, float& sum, float other_top, float other_sum) {
  float high = fmaxf(top, other_top);
  sum = sum * expf(top - high) + other_sum * expf(other_top - high);
  top = high;
}

__device__ __forceinline__ void join_warp(float& top, float& sum) {
  for (int offset = 16; offset > 0; offset >>= 1) {
    float other_top = __shfl_xor_sync(0xffffffffu, top, offset);
    float other_sum = __shfl_xor_sync(0xffffffffu, sum, offset);
    join_pair(top, sum, other_top, other_sum);
  }
}
"""

_BODY = """
  constexpr int pack = 16 / sizeof(T);
  constexpr float lowest = -3.402823466e38f;
  __shared__ float tops[32];
  __shared__ float sums[32];
  const T* row = logits + static_cast<size_t>(blockIdx.x) * V;
  float top = lowest, sum = 0.0f;
  if (V % pack == 0 && (reinterpret_cast<unsigned long long>(row) & 15) == 0) {
    const uint4* packs = reinterpret_cast<const uint4*>(row);
    for (int i = threadIdx.x; i < V / pack; i += blockDim.x) {
      uint4 bits = packs[i];
      const T* values = reinterpret_cast<const T*>(&bits);
      float high = top, part = 0.0f;
#pragma unroll
      for (int k = 0; k < pack; ++k) high = fmaxf(high, static_cast<float>(values[k]));
#pragma unroll
      for (int k = 0; k < pack; ++k) part += expf(static_cast<float>(values[k]) - high);
      sum = sum * expf(top - high) + part;
      top = high;
    }
  } else {
    for (int i = threadIdx.x; i < V; i += blockDim.x) join_pair(top, sum, static_cast<float>(row[i]), 1.0f);
  }
  join_warp(top, sum);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (lane == 0) {
    tops[warp] = top;
    sums[warp] = sum;
  }
  __syncthreads();
  if (warp == 0) {
    top = lane < warps ? tops[lane] : lowest;
    sum = lane < warps ? sums[lane] : 0.0f;
    join_warp(top, sum);
    if (lane == 0) lse[blockIdx.x] = top + logf(sum);
  }
"""


def row_logsumexp(rows_V: mx.array) -> mx.array:
    """log(sum(exp(z))) over the last axis, float32, lazily. Not differentiable where it is a kernel of its own."""
    if rows_V.dtype == mx.float32 or not rows_V.size or not has_kernel():
        return mx.logsumexp(rows_V.astype(mx.float32), axis=-1)
    return _by_kernel(rows_V)  # pragma: no cover - needs CUDA; tests/benchmarks/logsumexp.py holds it to the other form


def _by_kernel(rows_V: mx.array) -> mx.array:  # pragma: no cover - needs CUDA
    kernel: Any = _kernel()
    (sums,) = kernel(
        inputs=[rows_V],
        template=[("T", rows_V.dtype), ("V", rows_V.shape[-1])],
        grid=(THREADS * (rows_V.size // rows_V.shape[-1]), 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[rows_V.shape[:-1]],
        output_dtypes=[mx.float32],
    )
    result: mx.array = sums
    return result


def has_kernel() -> bool:
    """Whether the default device is one that the kernel is written for."""
    return mx.default_device() != mx.Device(mx.cpu) and bool(mx.cuda.is_available())


@cache
def _kernel() -> Any:  # pragma: no cover - needs CUDA
    return mx.fast.cuda_kernel("row_logsumexp", ["logits"], ["lse"], source=_BODY, header=_JOIN)
