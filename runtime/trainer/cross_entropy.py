"""Cross-entropy of each position in float32, with a backward that writes the gradient of the logits once.

Left to autograd, the float32 copy of 16-bit logits, its softmax and the scattered ones of the targets are each as large
as the logits in float32, which for a vocabulary of 32,000 is most of a step's memory. By hand it is one elementwise
kernel (under mx.compile) from the logits to their gradient, in the logits' own dtype:

    loss = logsumexp(z) - z[target]        d loss / d z = exp(z - logsumexp(z)) - onehot(target)

Without mx.compile each of its operations is a pass of its own, so on a CPU the plain form is as good; see `fused`.
The forward needs no float32 copy either where `row_logsumexp` has a kernel for the logits as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from runtime.trainer.logsumexp import row_logsumexp


def plain(logits_BSV: mx.array, targets_BS: mx.array) -> mx.array:
    """Losses in nats, [B, S] float32, differentiated by mlx."""
    logits_BSV = logits_BSV.astype(mx.float32)
    chosen_BS = mx.take_along_axis(logits_BSV, targets_BS[..., None], axis=-1).squeeze(-1)
    return mx.logsumexp(logits_BSV, axis=-1) - chosen_BS


def fused(logits_BSV: mx.array, targets_BS: mx.array) -> mx.array:
    """The same numbers; the gradient in one pass, rounded once to the logits' dtype."""
    losses_BS: mx.array = _by_hand(logits_BSV, targets_BS)
    return losses_BS


def token_losses(logits_BSV: mx.array, targets_BS: mx.array) -> mx.array:
    """Losses in nats, [B, S] float32, by whichever form suits the default device."""
    return plain(logits_BSV, targets_BS) if mx.default_device() == mx.Device(mx.cpu) else fused(logits_BSV, targets_BS)


def _forward(logits_BSV: mx.array, targets_BS: mx.array) -> mx.array:
    return row_logsumexp(logits_BSV) - _chosen(logits_BSV, targets_BS)


def _backward(primals: Sequence[mx.array], cotangent_BS: mx.array, losses_BS: mx.array) -> tuple[mx.array, Any]:
    logits_BSV, targets_BS = primals
    lse_BS1 = (losses_BS + _chosen(logits_BSV, targets_BS))[..., None]
    softmax_BSV = mx.exp(logits_BSV.astype(mx.float32) - lse_BS1)
    vocabulary_V = mx.arange(logits_BSV.shape[-1], dtype=targets_BS.dtype)
    hit_BSV = (vocabulary_V == targets_BS[..., None]).astype(mx.float32)
    gradient_BSV = (softmax_BSV - hit_BSV) * cotangent_BS[..., None]
    return gradient_BSV.astype(logits_BSV.dtype), mx.zeros_like(targets_BS)


_by_hand: Any = mx.custom_function(_forward)
_by_hand.vjp(_backward)


def _chosen(logits_BSV: mx.array, targets_BS: mx.array) -> mx.array:
    return mx.take_along_axis(logits_BSV, targets_BS[..., None], axis=-1).squeeze(-1).astype(mx.float32)
