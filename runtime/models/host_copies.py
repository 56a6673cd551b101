"""Copies between a device's memory and the host's, at the speed of the bus between them.

MLX's CUDA backend shows an array to the host by moving it to managed memory. Its pages then travel one fault at a time,
and its buffer stays managed also when another array gets it from MLX's cache. So under CUDA kernels of our own read and
write host memory that the driver has locked (pages that cannot be swapped, which a device may address itself), and no
array leaves the device. Where device and host share their memory, and for vectors that are not locked, it is NumPy that
copies.

Everything here is for the thread that owns mlx, and has happened when it returns.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[Any]
"""Elements [N] one after the other in host memory."""

CARRIERS = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32}
"""By the size of an element: what NumPy can show of it, whatever it means."""
_THREADS, _BLOCKS = 256, 1024
_PORTABLE, _MAPPED = 1, 2
_log = logging.getLogger(__name__)
_locked: dict[int, int] = {}
"""Of the vectors that are locked: first byte's address, and the one after the last."""
_staging: list[Vector] = []
"""A locked vector through which bytes go that lie anywhere; as long as the longest so far."""

_WRITE = """
  H* into = reinterpret_cast<H*>(place[0]);
  const size_t count = place[1], stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    into[i] = static_cast<H>(value[i]);
"""
_READ = """
  const T* from = reinterpret_cast<const T*>(place[0]);
  const size_t count = place[1], stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    values[i] = from[i];
"""
_FILL = """
  const T* from = reinterpret_cast<const T*>(place[0]);
  T* into = const_cast<T*>(memory);
  const size_t count = place[1], stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride)
    into[i] = from[i];
"""


def lock(vector: Vector) -> Vector:
    """The same vector, locked for as long as it lives where that helps; it should be used many times.

    Where the driver refuses, it stays as it is, and the log says so."""
    if is_cuda() and vector.nbytes and not is_locked(vector):  # pragma: no cover - needs CUDA
        address = _address(vector)
        if _register(address, vector.nbytes):
            _locked[address] = address + vector.nbytes
            weakref.finalize(vector, _unlock, address).atexit = False
    return vector


def is_locked(vector: Vector) -> bool:
    """Whether the device may address these elements itself."""
    if not _locked:
        return False
    first = _address(vector)  # pragma: no cover - needs CUDA
    spans = _locked.items()  # pragma: no cover - needs CUDA
    return any(start <= first and first + vector.nbytes <= stop for start, stop in spans)  # pragma: no cover - the same


def is_cuda() -> bool:
    """Whether the default device has memory of its own, that views would be moved out of."""
    return mx.default_device() != mx.Device(mx.cpu) and bool(mx.cuda.is_available())


def to_host(pairs: Iterable[tuple[mx.array, Vector]]) -> None:
    """Fill each float32 vector [N] with the elements of its array, of any dtype and shape."""
    under_way = []
    for value, vector in pairs:
        if is_locked(vector):  # pragma: no cover - needs CUDA
            under_way.append(_written(value.reshape(-1), vector, mx.float32))
        else:
            vector[:] = _seen(value.reshape(-1).astype(mx.float32))
    mx.eval(under_way)


def to_device(vectors: Iterable[Vector]) -> list[mx.array]:
    """The elements of float32 vectors [N], on the device."""
    values = [_read(vector, mx.float32) if is_locked(vector) else mx.array(vector) for vector in vectors]
    mx.eval(values)
    return values


def bytes_of(value: mx.array) -> Vector:
    """The bytes [N] of an array in uint8, as a view where the memory is shared."""
    flat = mx.contiguous(value).reshape(-1).view(CARRIERS[value.dtype.size])
    if is_cuda():  # pragma: no cover - needs CUDA
        room = _staged(flat.nbytes)
        if is_locked(room):
            mx.eval(_written(flat, room, flat.dtype))
            return room.copy()
    mx.eval(flat)
    return _seen(flat).view(np.uint8)


def of_bytes(data: Vector, dtype: mx.Dtype, shape: Sequence[int]) -> mx.array:
    """The array whose bytes are `data`."""
    carrier = CARRIERS[dtype.size]
    if is_cuda():  # pragma: no cover - needs CUDA
        room = _staged(data.nbytes)
        if is_locked(room):
            np.copyto(room, data)
            flat = _read(room, carrier)
            mx.eval(flat)
            return flat.view(dtype).reshape(shape)
    return mx.array(data.view(f"u{dtype.size}")).view(dtype).reshape(shape)


def fill(memory: mx.array, data: Vector) -> None:
    """Write bytes into an evaluated array of one of the carriers' dtypes, where it lies: others have it already."""
    if is_cuda():  # pragma: no cover - needs CUDA
        room = _staged(data.nbytes)
        if is_locked(room):
            np.copyto(room, data)
            mx.eval(_run(_filler(), [memory, _place(room, memory.size)], [("T", memory.dtype)], (1,), mx.uint32))
            return
    np.copyto(np.asarray(memory, copy=False).view(np.uint8), data)


def _seen(value: mx.array) -> Vector:
    """A view of an array, or of a copy of it where the view would move it for good."""
    if is_cuda():  # pragma: no cover - needs CUDA
        value = value + mx.zeros((), value.dtype)
    mx.eval(value)
    return np.asarray(value, copy=False)


def _address(vector: Vector) -> int:
    address: int = vector.__array_interface__["data"][0]
    return address


def _staged(size_bytes: int) -> Vector:  # pragma: no cover - needs CUDA
    """Room for so many bytes; the next call takes it again."""
    if not _staging or _staging[0].nbytes < size_bytes:
        _staging[:] = [lock(np.empty(size_bytes, np.uint8))]
    return _staging[0][:size_bytes]


def _place(vector: Vector, elements: int) -> mx.array:  # pragma: no cover - needs CUDA
    return mx.array(np.array([_address(vector), elements], np.uint64))


def _written(flat_N: mx.array, vector: Vector, dtype: mx.Dtype) -> mx.array:  # pragma: no cover - needs CUDA
    """Lazily: something that is there when the vector is filled with elements of this dtype."""
    template = [("T", flat_N.dtype), ("H", dtype)]
    return _run(_writer(), [flat_N, _place(vector, flat_N.size)], template, (1,), mx.uint32)


def _read(vector: Vector, dtype: mx.Dtype) -> mx.array:  # pragma: no cover - needs CUDA
    elements = vector.nbytes // dtype.size
    return _run(_reader(), [_place(vector, elements)], [("T", dtype)], (elements,), dtype)


def _run(
    kernel: Any, inputs: list[mx.array], template: list[tuple[str, mx.Dtype]], shape: tuple[int, ...], dtype: mx.Dtype
) -> mx.array:  # pragma: no cover - needs CUDA
    (made,) = kernel(
        inputs=inputs,
        template=template,
        grid=(_THREADS * _BLOCKS, 1, 1),
        threadgroup=(_THREADS, 1, 1),
        output_shapes=[shape],
        output_dtypes=[dtype],
    )
    result: mx.array = made
    return result


@cache
def _writer() -> Any:  # pragma: no cover - needs CUDA
    return mx.fast.cuda_kernel("to_host_memory", ["value", "place"], ["done"], source=_WRITE)


@cache
def _reader() -> Any:  # pragma: no cover - needs CUDA
    return mx.fast.cuda_kernel("from_host_memory", ["place"], ["values"], source=_READ)


@cache
def _filler() -> Any:  # pragma: no cover - needs CUDA
    return mx.fast.cuda_kernel("fill_from_host_memory", ["memory", "place"], ["done"], source=_FILL)


class _Driver:  # pragma: no cover - needs CUDA
    """Three calls of the CUDA driver, in the context of the first device that this process sees."""

    def __init__(self) -> None:
        """OSError where there is no driver, RuntimeError where it refuses."""
        self._library = ctypes.CDLL("libcuda.so.1")
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    def register(self, address: int, size_bytes: int) -> None:
        """Lock host memory so that devices find it at the same address. RuntimeError where that cannot be."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            start, found = ctypes.c_void_p(address), ctypes.c_uint64()
            self._call("cuMemHostRegister_v2", start, ctypes.c_size_t(size_bytes), ctypes.c_uint(_PORTABLE | _MAPPED))
            self._call("cuMemHostGetDevicePointer_v2", ctypes.byref(found), start, ctypes.c_uint(0))
            if found.value != address:
                self._call("cuMemHostUnregister", start)
                raise RuntimeError("the device sees host memory at another address")
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def unregister(self, address: int) -> None:
        """Undo `register`."""
        self._call("cuCtxPushCurrent_v2", self._context)
        try:
            self._call("cuMemHostUnregister", ctypes.c_void_p(address))
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} says {code}")


@cache
def _driver() -> _Driver:  # pragma: no cover - needs CUDA
    return _Driver()


def _register(address: int, size_bytes: int) -> bool:  # pragma: no cover - needs CUDA
    try:
        _driver().register(address, size_bytes)
    except (OSError, RuntimeError) as error:
        _log.warning("%.1f GB of host memory stay unlocked, copies are slow: %s", size_bytes / 1e9, error)
        return False
    return True


def _unlock(address: int) -> None:  # pragma: no cover - needs CUDA
    _locked.pop(address, None)
    _driver().unregister(address)
