"""Copies to and from locked memory against NumPy's, to the bit, and how fast they are.

    python -m tests.benchmarks.host_copies

Needs a GPU with CUDA; by hand only. Exit code 1 where a single bit differs.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from functools import partial

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from runtime.models.host_copies import bytes_of, fill, is_cuda, is_locked, lock, of_bytes, to_device, to_host

ELEMENTS = 1 << 28
"""1 GiB of float32."""
ODD = 1_000_003


def gb_per_second(size_bytes: int, copy: Callable[[], object], times: int = 3) -> float:
    """Of the fastest of some copies."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        copy()
        seconds.append(time.perf_counter() - began)
    return size_bytes / min(seconds) / 1e9


def used_there(vector: npt.NDArray[np.float32]) -> None:
    """Copy, and have the device read it."""
    mx.eval(to_device([vector])[0] + 1)


def differences() -> list[str]:
    """What is not to the bit as NumPy has it."""
    found = []
    numbers = np.random.default_rng(0).standard_normal(ODD, np.float32)
    for dtype in (mx.float32, mx.bfloat16, mx.float16):
        value = mx.array(numbers).astype(dtype)
        expected = np.array(value.astype(mx.float32))
        vector = lock(np.zeros(ODD + 5, np.float32))
        assert is_locked(vector[3:-2])
        to_host([(value, vector[3:-2])])
        if not np.array_equal(vector[3:-2], expected) or vector[:3].any() or vector[-2:].any():
            found.append(f"{dtype} to the host")
        (back,) = to_device([vector[3:-2]])
        if not np.array_equal(np.array(back), expected):
            found.append(f"{dtype} to the device")
        data = bytes_of(value)
        again = of_bytes(data, dtype, value.shape)
        if not bool(mx.array_equal(again, value)):
            found.append(f"bytes of {dtype}")
        memory = mx.zeros((ODD,), {2: mx.uint16, 4: mx.uint32}[dtype.size])
        mx.eval(memory)
        seen = memory.view(dtype)
        fill(memory, data)
        if not bool(mx.array_equal(seen, value)):
            found.append(f"{dtype} filled in place")
        del vector
        gc.collect()
    return found


def main() -> int:
    """Print the speeds."""
    if not is_cuda():
        sys.exit("error: this needs a GPU with CUDA")
    wrong = differences()
    print(wrong or "every bit is the same")
    value = mx.random.normal((ELEMENTS,))
    mx.eval(value)
    began = time.perf_counter()
    vector = lock(np.empty(ELEMENTS, np.float32))
    print(f"locking: {vector.nbytes / (time.perf_counter() - began) / 1e9:.1f} GB/s")
    plain = np.zeros(ELEMENTS, np.float32)
    for name, room in (("locked", vector), ("not locked", plain)):
        there = gb_per_second(room.nbytes, partial(to_host, [(value, room)]))
        back = gb_per_second(room.nbytes, partial(to_device, [room]))
        used = gb_per_second(room.nbytes, partial(used_there, room))
        print(f"{name}: to the host {there:.1f} GB/s, to the device {back:.1f} GB/s, and used there {used:.1f} GB/s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
