"""Bytes that a micro-batch keeps between its forward and its backward pass. Modelled, from the shapes of the weights.

What the backward pass of a layer reads, in elements per token, w being the width of the residual stream:

    inputs and outputs of its matrices, an input that several of them share counted once    (for the weights' gradients)
    3 w                                       the residual stream before each of its two norms, and attention's result
                                              (as wide as its input, hence not seen as an input of its own)
    2 x its widest output                     the activation function of the feed-forward layer and what it multiplies
    heads x positions                         attention's probabilities, which MLX keeps when it differentiates

For a llama with as many key heads as heads that is 10 w + 5 i + heads x T. Measured on a CPU in float32 (w 64 and 128,
i 384 and 768, T 64 and 128): the peak of six layers less that of two is within 3 per cent of it, when the gradients of
these four layers, which at the peak are not there yet, are taken out of the account. Behind the last layer there are
about three arrays as wide as the vocabulary (measured: 2.9): logits, their exponentials, their gradient.

`grad_checkpoint`: with "layer" a layer keeps its input alone and computes the rest again, so that only the sets of one
layer are there at a time; with "full" a segment of about sqrt(L) layers keeps its input alone, and while it goes back
those of its layers and one layer's sets (Chen and others, 2016). What the head keeps is kept in any case. A layer has
three sets: what it computed, the gradients of that, and what MLX has allocated ahead of the computing. (Measured on a
CPU as the peak less all else: 2.6, 2.6, 3.0 and 3.1 of them at w 256, 384, 128, 64, L 6, 3, 12, 24.)

With "none", too, the last layer needs more on its way back than it kept, when all others still keep theirs: three
arrays as large as attention's probabilities (their gradient, that of the scores, masked). In a model of few layers with
long rows that is most of the memory, packed or not: the masks of packed rows are one byte per pair of positions, and
the same for all heads and layers. (Measured on a CPU, peaks of two and of six layers extrapolated to none, less head:
3.1, 2.9, 2.7 times the probabilities at T 512, 1024, 256, B 2, 1, 4, heads 4, 4, 8, w 128, 128, 64.) What the other
parts of a layer need for a moment is about as much as the gradients that are not there yet. Plan / peak of whole steps
by tests/benchmarks/planned_memory.py: 0.91 to 1.03 packed, 0.92 to 1.04 with rows of their own, 1.10 deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from runtime.models.blueprint import Blueprint, Tensor

Checkpointing: TypeAlias = Literal["none", "layer", "full"]
LOGIT_ARRAYS = 3
"""Arrays of the vocabulary's width that the loss and its gradient need at once."""


SETS_AT_WORK = 3
"""Of what one layer keeps: that much is there while it is computed again and differentiated."""
SCORES_AT_WORK = 3
"""Arrays as large as attention's probabilities that are there, beside those, while attention is differentiated."""


@dataclass(frozen=True)
class Batch:
    """The shape of a micro-batch."""

    rows: int
    positions: int

    @property
    def tokens(self) -> int:
        """Tokens in it."""
        return self.rows * self.positions


def attention_bytes(blueprint: Blueprint, batch: Batch) -> int:
    """Of the probabilities of one layer's attention."""
    return blueprint.itemsize * batch.tokens * blueprint.heads * batch.positions


def layer_bytes(layer: Sequence[Tensor], blueprint: Blueprint, batch: Batch) -> int:
    """All that one layer keeps of one micro-batch."""
    matrices = [tensor for tensor in layer if tensor.is_matrix]
    kept = [tensor for tensor in matrices if not tensor.name.endswith("lora_b")]  # whose result is added at once
    outputs = [_times(tensor, blueprint) * _output(tensor) for tensor in kept]
    inputs = {(_block(tensor.name), _input(tensor)): _times(tensor, blueprint) * _input(tensor) for tensor in matrices}
    elements = sum(outputs) + sum(inputs.values()) + 3 * blueprint.width + 2 * max(outputs, default=0)
    return blueprint.itemsize * batch.tokens * elements + attention_bytes(blueprint, batch)


def boundary_bytes(blueprint: Blueprint, batch: Batch) -> int:
    """The array that layers, and stages, hand on."""
    return blueprint.itemsize * batch.tokens * blueprint.width


def head_bytes(blueprint: Blueprint, batch: Batch) -> int:
    """What norm, head and loss keep of one micro-batch."""
    width = LOGIT_ARRAYS * blueprint.vocabulary + 2 * blueprint.width
    return blueprint.itemsize * batch.tokens * width


def cast_bytes(tensors: Iterable[Tensor], itemsize: int) -> int:
    """Copies of trained parameters in what both passes compute in, where they are stored in less (16 bits on a CPU)."""
    trained = {tensor.name: tensor for tensor in tensors if tensor.trained}
    return sum(itemsize * each.elements for each in trained.values() if each.size_bytes < itemsize * each.elements)


@dataclass(frozen=True)
class Footprint:
    """Activations of one device: what every micro-batch in flight keeps, and what one of them needs on its way back."""

    each_bytes: int
    once_bytes: int

    def peak_bytes(self, in_flight: int) -> int:
        """With so many micro-batches between their forward and their backward pass."""
        return self.each_bytes * in_flight + self.once_bytes


def footprint(
    layers: Sequence[Sequence[Tensor]],
    blueprint: Blueprint,
    batch: Batch,
    checkpointing: Checkpointing,
    *,
    has_head: bool,
) -> Footprint:
    """The activations of consecutive layers on one device."""
    whole, boundary = [layer_bytes(layer, blueprint, batch) for layer in layers], boundary_bytes(blueprint, batch)
    head = head_bytes(blueprint, batch) if has_head else 0
    match checkpointing:
        case "none":
            scores = SCORES_AT_WORK * attention_bytes(blueprint, batch) if whole else 0
            return Footprint(sum(whole) + head, scores)
        case "layer":
            return Footprint(boundary * len(whole) + head, SETS_AT_WORK * max(whole, default=0))
        case "full":
            segment = math.ceil(math.sqrt(len(blueprint.layers)))
            segments = math.ceil(len(whole) / segment)
            return Footprint(boundary * segments + head, boundary * segment + SETS_AT_WORK * max(whole, default=0))


def multiplied(tensor: Tensor, blueprint: Blueprint) -> int:
    """Elements of a matrix that one token is multiplied with: of a stack of experts only those it is sent to."""
    return _times(tensor, blueprint) * _input(tensor) * _output(tensor) if tensor.is_matrix else 0


def _times(tensor: Tensor, blueprint: Blueprint) -> int:
    """How many matrices of a stack a token meets."""
    return min(max(blueprint.experts, 1), tensor.shape[0]) if len(tensor.shape) > 2 else 1


def _output(tensor: Tensor) -> int:
    return tensor.shape[-1] if _is_adapter(tensor) else tensor.shape[-2]


def _input(tensor: Tensor) -> int:
    return tensor.shape[-2] if _is_adapter(tensor) else tensor.shape[-1]


def _is_adapter(tensor: Tensor) -> bool:
    """Matrices of LoRA and DoRA lie the other way round: [in, rank] and [rank, out]."""
    return tensor.name.endswith(("lora_a", "lora_b"))


def _block(name: str) -> str:
    """What stands around a linear layer: `model.layers.3.self_attn` of `model.layers.3.self_attn.q_proj.weight`."""
    words = [word for word in name.split(".") if word != "linear"]
    return ".".join(words[:-2])
