"""What an fp32 vector looks like on the wire: as it is, or rounded to bfloat16 (half the bytes).

bfloat16 is the upper half of fp32; rounding is to nearest, ties to even. NaN stays NaN, overflow becomes infinity.
numpy has no bfloat16, so the bits are moved as integers, in blocks that fit a core's cache.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

_BLOCK_ELEMENTS = 32 * 1024
"""128 KiB of fp32 and as much scratch: both stay in the second-level cache between the passes."""


class WireDtype(IntEnum):
    """The element type of a payload."""

    FLOAT32 = 1
    BFLOAT16 = 2
    RAW = 3
    """Bytes of whatever they are: what stages of a pipeline send each other is never converted nor summed."""

    @property
    def element_bytes(self) -> int:
        """Bytes per element on the wire."""
        return {WireDtype.FLOAT32: 4, WireDtype.BFLOAT16: 2, WireDtype.RAW: 1}[self]


def encode(values: Floats, wire: WireDtype, into: Bytes) -> None:
    """Write `values` into `into`, which has exactly `values.size * wire.element_bytes` bytes."""
    if wire is WireDtype.FLOAT32:
        np.copyto(into.view(np.float32), values)
    else:
        to_bfloat16(values, into.view(np.uint16))


def decode(payload: Bytes, wire: WireDtype, into: Floats) -> None:
    """Write the values of `payload` into `into` (the inverse of `encode`)."""
    if wire is WireDtype.FLOAT32:
        np.copyto(into, payload.view(np.float32))
    else:
        from_bfloat16(payload.view(np.uint16), into)


def to_bfloat16(values: Floats, into: npt.NDArray[np.uint16]) -> None:
    """Round fp32 to the nearest bfloat16 (ties to even) and store the 16 bits of each."""
    scratch = np.empty(min(values.size, _BLOCK_ELEMENTS), np.uint32)
    for at in range(0, values.size, _BLOCK_ELEMENTS):
        block = values[at : at + _BLOCK_ELEMENTS]
        bits: npt.NDArray[np.uint32] = block.view(np.uint32)
        rounded = scratch[: block.size]
        np.right_shift(bits, 16, out=rounded)
        np.bitwise_and(rounded, 1, out=rounded)
        np.add(rounded, 0x7FFF, out=rounded)
        np.add(rounded, bits, out=rounded)
        np.copyto(into[at : at + block.size], _upper_half(rounded))
        if np.isnan(np.max(block)):  # rounding would carry a NaN of all ones into the sign
            into[at : at + block.size][np.isnan(block)] = 0x7FC0


def from_bfloat16(halves: npt.NDArray[np.uint16], into: Floats) -> None:
    """Widen bfloat16 bits to fp32, exactly."""
    np.left_shift(halves, 16, out=into.view(np.uint32), dtype=np.uint32)


def _upper_half(bits: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
    """The upper 16 bits of each element, as a view (little-endian machines only, as everything that MLX runs on)."""
    return bits.view(np.uint16)[1::2]
