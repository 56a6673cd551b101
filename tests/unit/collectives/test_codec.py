"""bfloat16 by bit tricks, against the definition: nearest, ties to even."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime.collectives.codec import WireDtype, decode, encode


def round_trip(values: np.ndarray, wire: WireDtype) -> np.ndarray:
    payload = np.empty(values.size * wire.element_bytes, np.uint8)
    encode(values, wire, payload)
    back = np.empty_like(values)
    decode(payload, wire, back)
    return back


@given(hnp.arrays(np.uint32, st.integers(0, 50)))
def test_bfloat16_rounds_as_mlx_does_for_every_bit_pattern(bits: np.ndarray) -> None:
    values = bits.view(np.float32)
    expected = np.array(mx.array(values).astype(mx.bfloat16).astype(mx.float32))
    np.testing.assert_array_equal(round_trip(values, WireDtype.BFLOAT16), expected)


@given(hnp.arrays(np.uint32, st.integers(0, 50)))
def test_float32_travels_bit_for_bit(bits: np.ndarray) -> None:
    values = bits.view(np.float32)
    assert round_trip(values, WireDtype.FLOAT32).tobytes() == values.tobytes()


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000])
def test_a_nan_stays_a_nan(bits: int) -> None:
    values = np.array([1.0, 2.0], np.float32)
    values.view(np.uint32)[1] = bits
    back = round_trip(values, WireDtype.BFLOAT16)
    assert back[0] == 1.0
    assert np.isnan(back[1])


def test_ties_go_to_even_and_overflow_to_infinity() -> None:
    values = np.array([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32).view(np.float32)
    back = round_trip(values, WireDtype.BFLOAT16)
    assert list(back.view(np.uint32)) == [0x3F800000, 0x3F820000, 0x7F800000, 0xFF800000]


def test_more_than_one_block_is_rounded_throughout() -> None:
    values = np.random.default_rng(0).standard_normal(100_001).astype(np.float32)
    error = np.abs(round_trip(values, WireDtype.BFLOAT16) - values)
    assert np.max(error / np.abs(values)) <= 2.0**-8
