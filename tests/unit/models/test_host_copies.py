"""Copies between a device and the host; tests/benchmarks/host_copies.py holds CUDA's own to the same."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from runtime.models.host_copies import bytes_of, fill, is_locked, lock, of_bytes, to_device, to_host


def test_arrays_of_any_dtype_and_shape_fill_their_part_of_a_float32_vector() -> None:
    vector = lock(np.full(8, 9.0, np.float32))
    to_host([(mx.array([[1.5, 2.0], [3.0, 4.0]], mx.bfloat16), vector[1:5]), (mx.array(7, mx.int32), vector[6:7])])
    assert vector.tolist() == [9, 1.5, 2, 3, 4, 9, 7, 9]


def test_what_came_to_the_device_stays_when_the_vector_is_written_again() -> None:
    vector = np.arange(6, dtype=np.float32)
    first, last = to_device([vector[:2], vector[4:]])
    vector[:] = 0
    assert (first.tolist(), last.tolist()) == ([0, 1], [4, 5])
    assert to_device([]) == []


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16, mx.int8], ids=str)
def test_bytes_become_the_same_array_again(dtype: mx.Dtype) -> None:
    value = (mx.arange(24).reshape(2, 3, 4) - 7).astype(dtype).transpose(2, 0, 1)
    data = bytes_of(value)
    assert (data.dtype, data.size) == (np.uint8, value.nbytes)
    again = of_bytes(data.copy(), dtype, value.shape)
    assert again.dtype == dtype
    assert mx.array_equal(again, value)


def test_a_filled_array_is_seen_by_those_who_have_it() -> None:
    memory = mx.zeros((4,), mx.uint16)
    mx.eval(memory)
    seen = memory.view(mx.bfloat16).reshape(2, 2)
    fill(memory, bytes_of(mx.array([1.0, 2.0, 3.0, -4.0], mx.bfloat16)))
    assert seen.tolist() == [[1, 2], [3, -4]]


def test_no_memory_is_locked_where_device_and_host_share_it() -> None:
    assert not is_locked(lock(np.zeros(3, np.float32)))
