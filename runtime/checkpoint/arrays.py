"""mlx and numpy arrays as raw little-endian bytes, without importing mlx.

Dtypes go by their safetensors code. bfloat16 has no numpy dtype: on the numpy side its 16 bits travel as uint16.
"""

from __future__ import annotations

import math
import sys
from typing import Final

import numpy as np
import numpy.typing as npt

from runtime.flow import Array

if sys.byteorder != "little":  # pragma: no cover - MLX runs on no such machine; a wrong checkpoint would be worse
    raise ImportError("checkpoints are little-endian and so must the machine be")

CODE_OF: Final = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "int64": "I64",
    "uint64": "U64",
    "float64": "F64",
}
NAME_OF: Final = {code: name for name, code in CODE_OF.items()}
ITEM_BYTES: Final = {
    code: 2 if code == "BF16" else 1 if code == "BOOL" else np.dtype(name).itemsize for code, name in NAME_OF.items()
}


def dtype_code(array: Array) -> str:
    """The safetensors code of an mlx or numpy array's dtype: `F32`, `BF16`, ... Raises TypeError for one without."""
    name = str(array.dtype).removeprefix("mlx.core.")
    if name not in CODE_OF:
        raise TypeError(f"a checkpoint cannot hold arrays of dtype {name}; known: {', '.join(CODE_OF)}")
    return CODE_OF[name]


def shape_of(array: Array) -> tuple[int, ...]:
    """The array's shape as plain ints."""
    return tuple(int(length) for length in array.shape)


def size_bytes(code: str, shape: tuple[int, ...]) -> int:
    """Bytes of a dense array."""
    return math.prod(shape) * ITEM_BYTES[code]


def raw_bytes(array: Array) -> memoryview:
    """The array's bytes in row-major order: a view when it lies so in memory, else a copy. The view keeps it alive.

    An mlx array must be evaluated. On CUDA pass a copy and not a live parameter: looking at a buffer from the host
    moves it to managed memory for good.
    """
    if isinstance(array, np.ndarray):
        return _bytes_of(np.ascontiguousarray(array))
    if memoryview(array).c_contiguous:
        return memoryview(np.frombuffer(array, np.uint8) if array.nbytes else b"")
    if dtype_code(array) == "BF16":
        import mlx.core as mx

        array = array.view(mx.uint16)
    return _bytes_of(np.ascontiguousarray(np.asarray(array)))


def _bytes_of(array: npt.NDArray[np.generic]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))


def from_bytes(buffer: npt.NDArray[np.uint8], code: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """The numpy view of raw bytes; bfloat16 comes as uint16."""
    return buffer.view("uint16" if code == "BF16" else NAME_OF[code]).reshape(shape)


def to_mlx(array: npt.NDArray[np.generic], code: str) -> Array:
    """An evaluated mlx array with the same bits, on the calling thread's device. Imports mlx."""
    import mlx.core as mx

    if code == "BF16":
        converted = mx.array(array).view(mx.bfloat16)
    else:
        converted = mx.array(array, dtype=getattr(mx, "bool_" if code == "BOOL" else NAME_OF[code]))
    mx.eval(converted)
    return converted
