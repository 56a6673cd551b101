"""What a layer costs before anybody has measured it, and what was measured when somebody has. Pure.

A product of [n, in] with a weight [in, out] is 2 n in out operations, and so is each of its two gradients: with respect
to the input (needed by every layer below) and to the weight (only if it is trained). So forward : backward of the
input : backward of the weights is 1 : 1 : 1 for a layer that is trained whole, and 1 : 1 : 0 for a frozen or quantised
one beside a small adapter. Attention has no weights of its own: its two products of [T, T] per head cost 4 T heads
head_dim operations per token, and twice that in the backward pass, all of it on the way to the input.

Seconds are the larger of operations / speed and bytes / bandwidth, the roofline of Williams and others (2009). Only
ratios matter to the cut of the layers and to the choice of a schedule; measured costs replace them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runtime.pipeline.partition import Cost, ModelCosts
from runtime.pipeline.simulator import PieceTimes


@dataclass(frozen=True)
class Roofline:
    """A device as the default cost model sees it; the defaults are those of a good laptop."""

    operations_per_s: float = 5e12
    bytes_per_s: float = 200e9

    def seconds(self, operations: float, size_bytes: float) -> float:
        """How long so much work takes."""
        return max(operations / self.operations_per_s, size_bytes / self.bytes_per_s)


LAPTOP = Roofline()


@dataclass(frozen=True)
class Work:
    """One layer, the embedding or the head, and what it does with a single token."""

    weights: int
    """Elements of the matrices that a token is multiplied with (of experts: those it is sent to)."""
    trained: int
    """Of these, the elements that have a gradient; an adapter's own matrices count in both numbers."""
    weight_bytes: int = 0
    """Bytes that are read for the weights, however many tokens there are."""
    attention_width: int = 0
    """heads x head_dim of its attention; 0 for none."""
    reaches_input: bool = True
    """Whether a gradient goes on to what stands before: not for the embedding."""


def modelled(
    work: Work,
    tokens: int,
    positions: int,
    device: Roofline = LAPTOP,
    *,
    kept_bytes: int = 0,
    activation_bytes: int = 0,
) -> Cost:
    """The cost of one micro-batch of `tokens` tokens in rows of `positions`."""
    products = 2.0 * tokens * work.weights
    attention = 4.0 * tokens * positions * work.attention_width
    forward_s = device.seconds(products + attention, work.weight_bytes)
    input_s = device.seconds(products + 2 * attention, work.weight_bytes) if work.reaches_input else 0.0
    weights_s = device.seconds(2.0 * tokens * work.trained, 4 * work.trained)
    return Cost(forward_s, input_s, weights_s, kept_bytes, activation_bytes)


@dataclass(frozen=True)
class Calibration:
    """Seconds that one micro-batch took, measured on one device: filled by the executor before the first step.

    Every time is the median of several runs after a warm-up, so that a compilation or a stolen core counts for nothing.
    """

    layers: tuple[PieceTimes, ...]
    embedding: PieceTimes
    head: PieceTimes
    """Final norm, head and loss."""

    def __post_init__(self) -> None:
        for times in (*self.layers, self.embedding, self.head):
            if min(times.forward_s, times.backward_input_s, times.backward_weight_s, times.backward_s) < 0:
                raise ValueError(f"a time below zero was measured: {times}")


def measured(costs: ModelCosts, calibration: Calibration) -> ModelCosts:
    """`costs` with measured seconds in the place of modelled ones; bytes stay. Raises ValueError for another model."""
    if len(calibration.layers) != len(costs.layers):
        raise ValueError(f"{len(calibration.layers)} layers were measured, the model has {len(costs.layers)}")
    layers = tuple(_timed(cost, times) for cost, times in zip(costs.layers, calibration.layers, strict=True))
    embedding, head = _timed(costs.embedding, calibration.embedding), _timed(costs.head, calibration.head)
    return replace(costs, layers=layers, embedding=embedding, head=head)


def from_layer_kinds(kinds: Sequence[int], of_kind: Sequence[PieceTimes]) -> tuple[PieceTimes, ...]:
    """A time for every layer when only one of each kind was measured: `kinds[layer]` is an index into `of_kind`."""
    return tuple(of_kind[kind] for kind in kinds)


def _timed(cost: Cost, times: PieceTimes) -> Cost:
    return replace(
        cost,
        forward_s=times.forward_s,
        backward_input_s=times.backward_input_s,
        backward_weight_s=times.backward_weight_s,
        whole_backward_s=times.whole_backward_s,
    )
