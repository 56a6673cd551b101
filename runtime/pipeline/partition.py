"""Which layers a stage holds: the cut that makes the slowest stage as fast as it can be, within every device's memory.

A step of a pipeline is as long as its slowest stage, times the micro-batches. So the largest stage is made as small as
possible (exactly, by dynamic programming over the cuts: stages x layers^2), and among all cuts that reach it the one
with the least sum of squares is taken, so that no stage is needlessly loaded. The first stage holds the embedding as
well and the last one the final norm and the head; where the two are tied, both hold the table.

Memory of a stage: what its layers keep for the whole step, and for each micro-batch in flight their activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from runtime.pipeline.simulator import PieceTimes


@dataclass(frozen=True)
class Cost:
    """Of one layer, of the embedding, or of the head, for one micro-batch."""

    forward_s: float
    backward_input_s: float
    backward_weight_s: float
    kept_bytes: int = 0
    """Parameters, gradients and optimizer state: there for the whole step."""
    activation_bytes: int = 0
    """Kept from a micro-batch's forward to its backward pass."""
    whole_backward_s: float | None = None
    """Both halves of the backward pass at once, where that was measured; None: their sum."""

    @property
    def backward_s(self) -> float:
        """A whole backward pass of one micro-batch."""
        halves = self.backward_input_s + self.backward_weight_s
        return halves if self.whole_backward_s is None else self.whole_backward_s

    @property
    def seconds(self) -> float:
        """All that one micro-batch costs."""
        return self.forward_s + self.backward_s


NOTHING = Cost(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ModelCosts:
    """What a model costs, piece by piece, on a device of speed 1."""

    layers: tuple[Cost, ...]
    embedding: Cost = NOTHING
    """Of the first position. A tied table is counted here and in `head`."""
    head: Cost = NOTHING
    """Final norm, head and loss, of the last position."""
    message_bytes: int = 0
    """One boundary activation of one micro-batch."""


@dataclass(frozen=True)
class Device:
    """Where a stage runs."""

    memory_bytes: float = math.inf
    speed: float = 1.0
    """Against the device that the costs were measured on."""


@dataclass(frozen=True)
class Partition:
    """How many layers each position holds, in the model's order."""

    layers: tuple[int, ...]
    stages: int

    @property
    def chunks(self) -> int:
        """Positions per stage."""
        return len(self.layers) // self.stages

    def bounds(self) -> tuple[tuple[int, int], ...]:
        """[first, end) of the layers of each position."""
        return tuple(pairwise(accumulate(self.layers, initial=0)))

    def layers_of(self, stage: int) -> tuple[int, ...]:
        """All layers that a stage holds, over its chunks."""
        return tuple(layer for start, end in self.bounds()[stage :: self.stages] for layer in range(start, end))


class NoPartition(ValueError):
    """The layers cannot be laid on these devices; the text says what lacks."""


def best(costs: ModelCosts, devices: Sequence[Device], in_flight: Sequence[int], chunks: int = 1) -> Partition:
    """The best cut over `devices` (one per stage), whose stage s keeps `in_flight[s]` activations of a position.

    With one chunk per stage it is optimal. With several, a device's memory is shared out to its positions alike when
    the best cut without a limit does not fit: what fits is found only if it fits that way.

    Raises NoPartition when there are fewer layers than positions, or no cut fits into the memory.
    """
    stages, positions = len(devices), len(devices) * chunks
    if len(costs.layers) < positions:
        raise NoPartition(f"{len(costs.layers)} layers cannot fill {positions} positions of at least one layer each")
    pieces = _Pieces(costs, devices, positions)
    if chunks > 1:
        free = _cut(pieces, lambda *_: True)
        if free is not None and overfull(partition := Partition(free, stages), costs, devices, in_flight) is None:
            return partition

    def fits(position: int, start: int, end: int) -> bool:
        stage = position % stages
        return pieces.bytes(position, start, end, in_flight[stage] / chunks) <= devices[stage].memory_bytes / chunks

    cut = _cut(pieces, fits)
    if cut is None:
        raise NoPartition("no cut of the layers fits into the devices' memory")
    return Partition(cut, stages)


def explicit(split: Sequence[int], costs: ModelCosts, stages: int) -> Partition:
    """The cut that the user wrote, layers per stage. Raises NoPartition when it is none of this model."""
    if len(split) != stages:
        raise NoPartition(f"the split names {len(split)} stages, there are {stages}")
    if any(layers < 1 for layers in split):
        raise NoPartition("every stage holds at least one layer")
    if sum(split) != len(costs.layers):
        raise NoPartition(f"the split adds up to {sum(split)} layers, the model has {len(costs.layers)}")
    return Partition(tuple(split), stages)


def overfull(
    partition: Partition, costs: ModelCosts, devices: Sequence[Device], in_flight: Sequence[int]
) -> str | None:
    """The first stage that does not fit into its device's memory, in words; None when all do."""
    for stage, needed in enumerate(stage_bytes(partition, costs, in_flight)):
        if needed > (memory := devices[stage].memory_bytes):
            return f"stage {stage} needs {needed / 1e9:.2f} GB and its device has {memory / 1e9:.2f} GB"
    return None


def stage_bytes(partition: Partition, costs: ModelCosts, in_flight: Sequence[int]) -> tuple[float, ...]:
    """Bytes that each stage needs at its peak, with `in_flight[s]` activations of a position kept at once.

    With several chunks the activations kept are counted at the mean of the stage's chunks."""
    pieces = _Pieces(costs, (Device(),) * partition.stages, len(partition.layers))
    totals = [0.0] * partition.stages
    for position, (start, end) in enumerate(partition.bounds()):
        stage = position % partition.stages
        totals[stage] += pieces.bytes(position, start, end, in_flight[stage] / partition.chunks)
    return tuple(totals)


def times_of(partition: Partition, costs: ModelCosts, devices: Sequence[Device]) -> tuple[PieceTimes, ...]:
    """What the simulator must know of each position."""
    found = []
    for position, (start, end) in enumerate(partition.bounds()):
        parts = list(costs.layers[start:end])
        parts += [costs.embedding] if position == 0 else []
        parts += [costs.head] if position == len(partition.layers) - 1 else []
        speed = devices[position % partition.stages].speed
        found.append(
            PieceTimes(
                math.fsum(part.forward_s for part in parts) / speed,
                math.fsum(part.backward_input_s for part in parts) / speed,
                math.fsum(part.backward_weight_s for part in parts) / speed,
                math.fsum(part.backward_s for part in parts) / speed,
            )
        )
    return tuple(found)


class _Pieces:
    """Seconds and bytes of any range of layers at any position, from sums made once."""

    def __init__(self, costs: ModelCosts, devices: Sequence[Device], positions: int) -> None:
        self.count, self.positions = len(costs.layers), positions
        self._costs, self._devices = costs, devices
        self._seconds = list(accumulate((layer.seconds for layer in costs.layers), initial=0.0))
        self._kept = list(accumulate((layer.kept_bytes for layer in costs.layers), initial=0))
        self._activations = list(accumulate((layer.activation_bytes for layer in costs.layers), initial=0))

    def seconds(self, position: int, start: int, end: int) -> float:
        found = self._seconds[end] - self._seconds[start] + math.fsum(each.seconds for each in self._ends(position))
        return found / self._devices[position % len(self._devices)].speed

    def bytes(self, position: int, start: int, end: int, in_flight: float) -> float:
        ends = self._ends(position)
        kept = self._kept[end] - self._kept[start] + sum(each.kept_bytes for each in ends)
        activations = self._activations[end] - self._activations[start] + sum(each.activation_bytes for each in ends)
        return kept + in_flight * activations

    def _ends(self, position: int) -> list[Cost]:
        first = [self._costs.embedding] if position == 0 else []
        return first + ([self._costs.head] if position == self.positions - 1 else [])


def _cut(pieces: _Pieces, fits: Callable[[int, int, int], bool]) -> tuple[int, ...] | None:
    """Layers per position: the least largest position, then the least sum of squares; None where nothing fits."""
    slowest = _walk(pieces, fits, max, lambda seconds: seconds)
    if slowest is None:
        return None
    limit = slowest[0]

    def within(position: int, start: int, end: int) -> bool:
        return pieces.seconds(position, start, end) <= limit and fits(position, start, end)

    even = _walk(pieces, within, lambda left, right: left + right, lambda seconds: seconds * seconds)
    return None if even is None else even[1]


def _walk(
    pieces: _Pieces,
    fits: Callable[[int, int, int], bool],
    join: Callable[[float, float], float],
    weigh: Callable[[float], float],
) -> tuple[float, tuple[int, ...]] | None:
    """Dynamic programming: `reached[end]` is the best way to lay the first `end` layers on the positions so far."""
    reached: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for position in range(pieces.positions):
        left = pieces.positions - position - 1
        following: dict[int, tuple[float, tuple[int, ...]]] = {}
        for start, (value, layers) in reached.items():
            for end in range(start + 1, pieces.count - left + 1):
                if (left == 0 and end < pieces.count) or not fits(position, start, end):
                    continue
                found = join(value, weigh(pieces.seconds(position, start, end)))
                if end not in following or (found, layers) < (following[end][0], following[end][1]):
                    following[end] = (found, (*layers, end - start))
        reached = following
    return reached.get(pieces.count)
