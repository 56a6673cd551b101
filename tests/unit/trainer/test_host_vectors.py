"""Gradients on their way to the host: leaf by leaf, into memory that is used again."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from runtime.optim.flat import FlatLayout
from runtime.trainer.arrays import copied
from runtime.trainer.host_vectors import HostVectors
from tests.unit.trainer.world import bits


def test_a_vector_has_the_order_of_the_layout_and_is_written_again() -> None:
    tree = {"model.layers.0.w": mx.arange(6).reshape(2, 3).astype(mx.bfloat16), "lm_head.w": mx.array([7.0, 8.0])}
    layout, doubled = FlatLayout.of(tree), {name: 2 * value for name, value in tree.items()}
    vectors = HostVectors(layout)
    first = vectors.filled(0, tree)
    assert (first.dtype, first.tolist()) == (np.float32, [7, 8, 0, 1, 2, 3, 4, 5])
    assert np.array_equal(first, np.asarray(layout.flatten(tree)))
    other = vectors.filled(1, doubled)
    assert not np.may_share_memory(first, other)
    assert vectors.filled(0, doubled) is first
    assert np.array_equal(first, other)


def test_copies_have_the_same_bits() -> None:
    arrays = {"a": mx.array([1.5, -2.0]), "b": mx.array([3, 4], mx.int32)}
    assert bits(copied(arrays)) == bits(arrays)
