"""Dropout that does not depend on who computes a row: which inputs are dropped follows from the row, not from a stream.

A row is (run.seed, step, logical shard, index within the shard); each position of it has a key of its own for each
dropout layer. So the number of workers, the size of a micro-batch and the padding around a row change nothing, and a
layer that is computed twice (activation checkpointing) drops the same inputs twice.

Shape letters: B rows, T positions, D the remaining axes as one.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_unflatten

from runtime.errors import ModelError
from runtime.flow import Array, Micro, Packing
from runtime.ids import ShardId, Step

POSITIONS = 1 << 20
"""Positions of a row that have keys of their own; 2^12 dropout layers share the rest of a 32 bit number."""


class Rows:
    """The rows that go through the model at the moment: one 32 bit number each, an array [B] or a tracer of one."""

    def __init__(self) -> None:
        self.numbers_B: mx.array | None = None
        """Where rows hold several samples: [B, T], a number per sample."""
        self.positions_BT: mx.array | None = None
        """Where rows hold several samples: the place of each position within its sample."""


class RowDropout(nn.Module):  # type: ignore[misc]  # mlx.nn ships no types
    """Drops a fraction of its inputs [B, T, ...] and scales up the rest; in evaluation, nothing."""

    def __init__(self, fraction: float, layer: int, rows: Rows) -> None:
        super().__init__()
        self._keep, self._layer, self._rows = 1.0 - fraction, layer, rows

    def __call__(self, x: mx.array) -> mx.array:
        """`x`, or some of it. Raises ModelError if the first axis is not that of the rows."""
        if not self.training:
            return x
        numbers_B, positions_BT = self._rows.numbers_B, self._rows.positions_BT
        if numbers_B is None or x.ndim < 3 or x.shape[0] != numbers_B.shape[0]:
            raise ModelError(
                f"model.adapter.dropout: a layer of this model takes {list(x.shape)}, not rows of positions (the "
                "experts of a mixture do); set it to 0, or name other layers in model.adapter.keys"
            )
        if positions_BT is None:
            positions_BT, numbers_BT = mx.arange(x.shape[1], dtype=mx.uint32)[None, :], numbers_B[:, None]
        else:
            positions_BT, numbers_BT = positions_BT.astype(mx.uint32), numbers_B
        positions_BT = positions_BT + (self._layer * POSITIONS) % (1 << 32)
        keys_BT = mx.stack(mx.broadcast_arrays(numbers_BT, positions_BT), axis=-1)
        size_D = math.prod(x.shape[2:])

        def draw(key: mx.array) -> mx.array:
            return mx.random.bernoulli(self._keep, (size_D,), key=key)

        kept: Any = mx.vmap(mx.vmap(draw))(keys_BT)
        return (1 / self._keep) * kept.reshape(x.shape) * x


def place_dropout(model: Any) -> Rows | None:
    """Put a `RowDropout` in the place of every nn.Dropout of `model` that drops anything; None if there is none."""
    rows = Rows()
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout) and module._p_1 < 1]
    found = dict(model.named_modules())
    placed = [
        (name, RowDropout(1.0 - found[name]._p_1, layer, rows).train(found[name].training))
        for layer, name in enumerate(sorted(names))
    ]
    if not placed:
        return None
    model.update_modules(tree_unflatten(placed))
    return rows


def row_numbers(seed: int, step: Step, micros: Sequence[Micro]) -> list[Array]:
    """For each micro-batch of one batch (whole shards, the rows of each in order): uint32 [B], a number per row.

    Where rows hold several samples: [B, T], the number that the sample would have if it had a row of its own.
    """
    seen: Counter[ShardId] = Counter()
    numbers = []
    for micro in micros:
        if micro.packing is not None:
            numbers.append(_numbers_of_samples(seed, step, micro.packing))
            continue
        row = []
        for shard in micro.shards:
            row.append(_number(seed, step, shard, seen[shard]))
            seen[shard] += 1
        numbers.append(np.array(row, np.uint32))
    return numbers


def _number(seed: int, step: Step, shard: ShardId, index: int) -> int:
    packed = struct.pack("<4q", seed, step, shard, index)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=4).digest(), "little")


def _numbers_of_samples(seed: int, step: Step, packing: Packing) -> Array:
    found = np.zeros(packing.segments_BT.shape, np.uint32)
    for row, samples in enumerate(packing.samples):
        table = [0, *(_number(seed, step, shard, index) for shard, index in samples)]
        found[row] = np.array(table, np.uint32)[packing.segments_BT[row]]
    return found
