from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.optim.clip import gradient_scale, norm_per_token, square_sum


@pytest.mark.parametrize("size", [0, 1, 17, 1023, 1024, 1025, 1 << 20, (1 << 21) + 3])
def test_the_sum_of_squares_is_right_to_one_in_a_million(size: int) -> None:
    values = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    ours = square_sum({"w": mx.array(values)}).item()
    assert ours == pytest.approx(float(np.sum(values.astype(np.float64) ** 2)), rel=1e-6)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_sixteen_bit_gradients_are_summed_in_fp32(dtype: mx.Dtype) -> None:
    assert square_sum({"w": mx.full((100, 100), 300.0, dtype)}).item() == pytest.approx(10_000 * 300.0**2, rel=1e-6)


def test_names_in_any_order_compiled_or_not_give_the_same_bits() -> None:
    tree = {name: mx.random.normal((37, 53)) for name in ("a", "b", "c")}
    ours = square_sum(tree).item()
    assert square_sum(dict(reversed(tree.items()))).item() == ours
    assert mx.compile(square_sum)(tree).item() == ours


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_one_bad_element_shows_in_the_norm(bad: float) -> None:
    tree = {"a": mx.ones(2000), "b": mx.concatenate([mx.ones(1500), mx.array([bad])])}
    assert not math.isfinite(norm_per_token(square_sum(tree).item(), 10))


def test_the_norm_is_that_of_the_mean_per_token() -> None:
    assert norm_per_token(square_sum({"w": mx.array([30.0, 40.0])}).item(), 10) == 5.0
    assert math.isnan(norm_per_token(0.0, 0))
    assert math.isnan(norm_per_token(math.nan, 3))
    assert norm_per_token(math.inf, 3) == math.inf


def scale_of(square_sum: float, tokens: float, limit: float) -> float:
    given_ = (mx.array(value, mx.float32) for value in (square_sum, tokens, limit))
    return float(gradient_scale(*given_).item())


@given(norm=st.floats(1e-6, 1e9), tokens=st.integers(1, 1 << 20), limit=st.floats(1e-3, 1e6))
def test_the_mean_per_token_is_brought_down_to_the_limit_and_small_ones_stay(
    norm: float, tokens: int, limit: float
) -> None:
    scale = scale_of((norm * tokens) ** 2, tokens, limit)
    assert scale == pytest.approx(min(1.0, limit / (norm + 1e-6)) / tokens, rel=1e-5)


def test_without_a_limit_it_only_divides() -> None:
    assert scale_of(1e18, 4, math.inf) == scale_of(0.0, 4, math.inf) == scale_of(0.0, 4, 1.0) == 0.25


@pytest.mark.parametrize("square_sum", [math.nan, math.inf])
def test_what_is_not_finite_gives_no_scale_to_use(square_sum: float) -> None:
    assert not scale_of(square_sum, 4, 1.0) > 0
