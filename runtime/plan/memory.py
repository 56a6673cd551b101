"""Bytes that stay on a device for the whole run: parameters, gradients, optimizer. Exact, from the tensors' shapes.

    parameters   what the tensors take in their dtype (a quantised base: packed weights, scales and offsets)
    gradients    4 bytes per trained element: sums over micro-batches are float32; those of an only micro-batch have the
                 dtype that they were computed in (trainer/gradients.py)
    optimizer    4 bytes per element of each moment (adam, adamw: two; sgd, lion: one; adafactor: a row and a column per
                 matrix; muon: one for a matrix of a layer, adamw's two for the rest), and 4 per trained element in 16
                 bit for its float32 master (optim/optimizer.py)
    exchange     while gradients of several workers meet: 4 bytes per trained element for the sum beside one's own; the
                 activations are gone by then, so it is not added to them. With ZeRO-1 only one's own slices of the sum
                 come, and they replace one's gradient (trainer/slices.py)
    host         4 bytes per trained element for what is sent (between two steps, with ZeRO-1, parameters), and 4 for
                 what comes; with ZeRO-1 of one's own slices alone, and as much where they wait for their verdict

With adamw in 16 bit that is 2 P + g P + 12 P bytes, g being 4, or 2 for an only micro-batch on a GPU. ZeRO-1 keeps the
last term once over n workers (Rajbhandari and others, 2020), in r = min(`replicas`, n - 1) copies of each slice, and at
least one: 2 P + g P + 12 P r / n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.cluster.slices import copies_of
from runtime.models.blueprint import Tensor

FLOAT32_BYTES = 4
_NO_MATRICES_OF_MUON = ("norm", "conv", "embed")


@dataclass(frozen=True)
class Sharding:
    """How the optimizer's state lies on the workers that hold the same parameters."""

    workers: int = 1
    sharded: bool = False
    replicas: int = 1
    deterministic: bool = False
    """Then the whole of a sum reaches everybody (trainer/exchange.py)."""

    @property
    def in_parts(self) -> bool:
        """Whether a worker gets its slices of a sum alone."""
        return self.sharded and self.workers > 1 and not self.deterministic

    def sum_bytes(self, elements: int) -> int:
        """Of the summed gradient on one device, in float32."""
        if self.workers == 1:
            return 0
        return math.ceil(FLOAT32_BYTES * elements * (self.share if self.in_parts else 1.0))

    def host_bytes(self, elements: int) -> int:
        """Of the vectors in which gradients and parameters travel."""
        if self.workers == 1:
            return 0
        came = 2 * self.sum_bytes(elements) if self.in_parts else FLOAT32_BYTES * elements
        return FLOAT32_BYTES * elements + came

    @property
    def share(self) -> float:
        """Part of the optimizer's state that one worker keeps: 1 without ZeRO-1."""
        return self.copies / self.workers if self.sharded else 1.0

    @property
    def copies(self) -> int:
        """How many workers keep each slice."""
        return copies_of(self.workers, self.replicas)


@dataclass(frozen=True)
class Held:
    """Bytes on one device that do not depend on the batch."""

    parameters_bytes: int = 0
    gradients_bytes: int = 0
    optimizer_bytes: int = 0
    exchange_bytes: int = 0
    host_bytes: int = 0
    """Beside the device; on a CPU in the same memory."""

    @property
    def total_bytes(self) -> int:
        """What is there all the time: all but the exchange."""
        return self.parameters_bytes + self.gradients_bytes + self.optimizer_bytes


def held(
    tensors: Iterable[Tensor], optimizer: str, sharding: Sharding = Sharding(), gradient_bytes: int = FLOAT32_BYTES
) -> Held:
    """What a device with these tensors keeps, each of them counted once; `optimizer` is a value of `optim.name`, and
    `gradient_bytes` are those of one element's gradients (in a sum over a tree there are several)."""
    mine = tuple({tensor.name: tensor for tensor in tensors}.values())
    trained = [tensor for tensor in mine if tensor.trained]
    elements = sum(tensor.elements for tensor in trained)
    gradients = gradient_bytes * elements
    state = sum(state_elements(tensor, optimizer) + _master_elements(tensor) for tensor in trained)
    return Held(
        parameters_bytes=sum(tensor.size_bytes for tensor in mine),
        gradients_bytes=gradients,
        optimizer_bytes=math.ceil(FLOAT32_BYTES * state * sharding.share),
        exchange_bytes=max(0, sharding.sum_bytes(elements) - (gradients if sharding.in_parts else 0)),
        host_bytes=sharding.host_bytes(elements),
    )


def state_elements(tensor: Tensor, optimizer: str) -> int:
    """Elements of all moments of one trained parameter; the table of runtime/optim, told without MLX."""
    shape = tensor.shape
    match optimizer:
        case "sgd" | "lion":
            return tensor.elements
        case "adafactor" if len(shape) >= 2:
            return math.prod(shape[:-1]) + math.prod(shape[:-2] + shape[-1:])
        case "adafactor":
            return tensor.elements
        case "muon" if _is_orthogonalised(tensor):
            return tensor.elements
        case _:
            return 2 * tensor.elements


def _is_orthogonalised(tensor: Tensor) -> bool:
    words, shape = tensor.name.split("."), tensor.shape
    foreign = any(word in tensor.name for word in _NO_MATRICES_OF_MUON) or {"wte", "wpe"} & set(words)
    return len(shape) >= 2 and min(shape[-2:]) > 1 and any(word.isdigit() for word in words) and not foreign


def _master_elements(tensor: Tensor) -> int:
    return tensor.elements if tensor.size_bytes < FLOAT32_BYTES * tensor.elements else 0
