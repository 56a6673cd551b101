"""Two forms of one loss: the same losses and gradients, also of 16-bit logits and inside a compiled function."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from runtime.trainer.cross_entropy import fused, plain, token_losses

ROWS, POSITIONS, VOCABULARY = 3, 7, 41


def logits_and_targets(dtype: mx.Dtype, scale: float = 3.0) -> tuple[mx.array, mx.array]:
    mx.random.seed(5)
    logits = (mx.random.normal((ROWS, POSITIONS, VOCABULARY)) * scale).astype(dtype)
    return logits, mx.random.randint(0, VOCABULARY, (ROWS, POSITIONS))


def weighted(
    form: Callable[[mx.array, mx.array], mx.array], logits: mx.array, targets: mx.array
) -> tuple[mx.array, mx.array]:
    """(losses, gradient of their sum with weights, some of them zero)."""
    weights = mx.array(np.arange(ROWS * POSITIONS).reshape(ROWS, POSITIONS) % 4, mx.float32)
    total = mx.value_and_grad(lambda z: (form(z, targets) * weights).sum())
    return form(logits, targets), total(logits)[1]


@pytest.mark.parametrize("compiled", [False, True])
def test_in_float32_they_agree(compiled: bool) -> None:
    logits, targets = logits_and_targets(mx.float32)
    expected = weighted(plain, logits, targets)
    run = mx.compile(lambda z, t: weighted(fused, z, t)) if compiled else lambda z, t: weighted(fused, z, t)
    for found, wanted in zip(run(logits, targets), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-5, atol=1e-6)


def test_of_16_bit_logits_the_losses_are_float32_and_the_gradient_is_rounded_once() -> None:
    logits, targets = logits_and_targets(mx.bfloat16)
    losses, gradient = weighted(fused, logits, targets)
    wanted_losses, wanted = weighted(plain, logits.astype(mx.float32), targets)
    assert (losses.dtype, gradient.dtype) == (mx.float32, mx.bfloat16)
    np.testing.assert_allclose(np.asarray(losses), np.asarray(wanted_losses), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(gradient.astype(mx.float32)), np.asarray(wanted), rtol=2**-8, atol=1e-6)


def test_large_logits_do_not_overflow() -> None:
    logits, targets = logits_and_targets(mx.float32, scale=300.0)
    losses, gradient = weighted(fused, logits, targets)
    assert bool(mx.isfinite(losses).all().item())
    assert bool(mx.isfinite(gradient).all().item())


def test_a_position_of_weight_zero_has_no_gradient() -> None:
    logits, targets = logits_and_targets(mx.float32)
    _, gradient = weighted(fused, logits, targets)
    assert not np.asarray(gradient).reshape(-1, VOCABULARY)[::4].any()


def test_on_a_cpu_the_plain_form_is_taken() -> None:
    logits, targets = logits_and_targets(mx.float32)
    np.testing.assert_array_equal(np.asarray(token_losses(logits, targets)), np.asarray(plain(logits, targets)))
