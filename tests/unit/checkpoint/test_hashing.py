from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from runtime.checkpoint.arrays import CODE_OF, dtype_code, from_bytes, raw_bytes, shape_of, to_mlx
from runtime.checkpoint.hashing import model_hash, parameter_hash

VALUES = np.arange(24).reshape(4, 6)


@pytest.mark.parametrize("name", sorted(set(CODE_OF) - {"bfloat16", "float64"}))
def test_mlx_and_numpy_arrays_of_equal_bits_have_equal_hashes(name: str) -> None:
    ours = VALUES.astype(name)
    theirs = mx.array(ours)
    mx.eval(theirs)
    assert parameter_hash({"w": theirs}) == parameter_hash({"w": ours})


def test_one_changed_bit_changes_the_hash() -> None:
    weight = VALUES.astype(np.float32)
    before = parameter_hash({"w": weight})
    weight.view(np.uint8).reshape(-1)[17] ^= 1
    assert parameter_hash({"w": weight}) != before


@pytest.mark.parametrize(
    "other",
    [
        {"v": np.zeros((2, 3), np.float32)},
        {"w": np.zeros((3, 2), np.float32)},
        {"w": np.zeros((2, 3), np.int32)},
        {"w": np.zeros((2, 3), np.float32), "b": np.zeros(0, np.float32)},
        {},
    ],
)
def test_name_shape_dtype_and_presence_belong_to_the_hash(other: dict[str, np.ndarray]) -> None:
    assert parameter_hash(other) != parameter_hash({"w": np.zeros((2, 3), np.float32)})


def test_the_order_of_names_does_not_matter() -> None:
    a, b = np.ones(3, np.float32), np.zeros(2, np.float16)
    assert parameter_hash({"a": a, "b": b}) == parameter_hash({"b": b, "a": a})


def test_the_hash_is_pinned_so_that_two_versions_of_the_program_agree() -> None:
    assert parameter_hash({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}) == "a3e866d2005b28e9acdb095dec7b7f02"


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int8])
@pytest.mark.parametrize(
    "change",
    [lambda x: x, lambda x: x.T, lambda x: x[:, ::2], lambda x: mx.broadcast_to(x[:1], (5, 6)), lambda x: x[2, 3]],
    ids=["dense", "transposed", "strided", "broadcast", "scalar"],
)
def test_any_memory_layout_gives_row_major_bytes(dtype, change) -> None:
    array = change(mx.array(VALUES).astype(dtype))
    mx.eval(array)
    expected = np.array(array.astype(mx.float32))
    buffer = np.frombuffer(raw_bytes(array), np.uint8)
    again = to_mlx(from_bytes(buffer, dtype_code(array), shape_of(array)), dtype_code(array))
    assert again.dtype == dtype
    assert np.array_equal(np.array(again.astype(mx.float32)), expected)


def test_strided_numpy_arrays_give_row_major_bytes_too() -> None:
    assert bytes(raw_bytes(VALUES.T)) == np.ascontiguousarray(VALUES.T).tobytes()


def test_bfloat16_keeps_every_bit_pattern_through_numpy() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    array = to_mlx(bits, "BF16")
    assert array.dtype == mx.bfloat16
    assert bytes(raw_bytes(array)) == bits.tobytes()


@pytest.mark.parametrize(("name", "dtype"), [("bool", mx.bool_), ("int64", mx.int64), ("uint32", mx.uint32)])
def test_to_mlx_keeps_the_dtype(name: str, dtype: mx.Dtype) -> None:
    assert to_mlx(VALUES.astype(name), CODE_OF[name]).dtype == dtype


def test_an_empty_array_has_no_bytes() -> None:
    empty = mx.zeros((0, 4), mx.bfloat16)
    mx.eval(empty)
    assert len(raw_bytes(empty)) == 0
    assert parameter_hash({"w": mx.zeros((0, 4))}) == parameter_hash({"w": np.zeros((0, 4), np.float32)})


def test_a_dtype_that_files_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="complex64"):
        dtype_code(np.zeros(2, np.complex64))


def test_the_model_hash_sees_architecture_names_and_shapes_only() -> None:
    shapes = {"a": (2, 3), "b": (4,)}
    assert model_hash("llama", shapes) == model_hash("llama", dict(reversed(shapes.items())))
    assert model_hash("llama", shapes) != model_hash("qwen2", shapes)
    assert model_hash("llama", shapes) != model_hash("llama", shapes | {"b": (5,)})
    assert model_hash("llama", shapes) != model_hash("llama", {"a": (2, 3)})
