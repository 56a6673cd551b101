"""Packing: several samples in one row, longest first into the fullest row that still has room (best fit decreasing).

Each sample in a row is a segment of its own: it attends to itself alone, and its first token is a target of nothing,
so that a packed row has the loss of its samples. Samples are never split: half an answer teaches to stop in the middle.
Letters: B rows, T tokens.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = 0
"""The segment of padding; samples are numbered from 1 in each row."""


@dataclass(frozen=True)
class PackedRows:
    """Rows of one width. All arrays have shape [B, T]."""

    tokens_BT: NDArray[np.int32]
    mask_BT: NDArray[np.float32]
    """1 where the token is a target that counts; the first of each segment and padding never are."""
    segments_BT: NDArray[np.int32]
    """Which sample of its row a token belongs to, from 1; 0 is padding."""
    positions_BT: NDArray[np.int32]
    """Place of a token within its sample; 0 in padding."""


def best_fit(lengths: Sequence[int] | NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Rows of sample numbers, each at most `capacity` tokens long, every sample once, empty ones aside.

    A pure function of the lengths: longer samples first, equal ones in their order, each into the row with the least
    room that suffices (the earliest of equal ones). n log n. Raises ValueError for a sample longer than a row.
    """
    if len(lengths) and max(lengths) > capacity:
        raise ValueError(f"a sample of {max(lengths)} tokens does not fit a row of {capacity}")
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (free tokens, row), ascending
    for sample in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        length = int(lengths[sample])
        if not length:
            continue
        at = bisect_left(rooms, (length, -1))
        if at < len(rooms):
            room, row = rooms.pop(at)
            rows[row].append(sample)
        else:
            room, row = capacity, len(rows)
            rows.append([sample])
        if room > length:
            insort(rooms, (room - length, row))
    return rows


def fill(rows: Sequence[Sequence[tuple[NDArray[np.int32], NDArray[np.uint8]]]], tokens: int) -> PackedRows:
    """The arrays of `rows` of samples (ids, mask), padded on the right to `tokens` per row.

    Raises ValueError for a row that is longer.
    """
    shape = (len(rows), tokens)
    packed = PackedRows(
        np.zeros(shape, np.int32), np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    )
    for row, samples in enumerate(rows):
        start = 0
        for segment, (ids, mask) in enumerate(samples, 1):
            end = start + len(ids)
            if end > tokens:
                raise ValueError(f"row {row} has more than {tokens} tokens")
            packed.tokens_BT[row, start:end] = ids
            packed.mask_BT[row, start:end] = mask
            packed.mask_BT[row, start] = 0
            packed.segments_BT[row, start:end] = segment
            packed.positions_BT[row, start:end] = np.arange(len(ids))
            start = end
    return packed


def attention_of(segments_BT: NDArray[np.int32]) -> NDArray[np.bool_]:
    """[B, 1, T, T]: whether row position t attends to u: the same sample, and not later. Padding attends to itself.

    No position attends to nothing: a fully masked one has no defined attention.
    """
    tokens = segments_BT.shape[1]
    same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    real_BTT = same_BTT & (segments_BT != PADDING)[:, :, None] & np.tri(tokens, dtype=bool)
    found: NDArray[np.bool_] = (real_BTT | np.eye(tokens, dtype=bool))[:, None]
    return found


def efficiency(lengths: Sequence[int] | NDArray[np.int64], rows: int, tokens: int) -> float:
    """Tokens of samples over computed positions, of `rows` rows of `tokens`; 0 without rows."""
    return float(np.sum(lengths)) / (rows * tokens) if rows and tokens else 0.0
