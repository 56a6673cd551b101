"""Arrays by name, between a device and whoever else has to do with them."""

from __future__ import annotations

from collections.abc import Container, Mapping

import mlx.core as mx

from runtime.errors import ModelError
from runtime.flow import Array, Snapshot
from runtime.trainer.gradients import Tree


def added(left: Tree, right: Tree) -> Tree:
    """The sums of what has the same name, lazily."""
    return {name: value + right[name] for name, value in left.items()}


def on_device(value: Array) -> mx.array:
    """A host array as one of the device; one of the device as it is."""
    return value if isinstance(value, mx.array) else mx.array(value)


def fitting(snapshot: Snapshot, shapes: Mapping[str, tuple[int, ...]]) -> Tree:
    """The parameters of a snapshot that have these names. Raises ModelError if one is missing or of another shape."""
    given = {name: on_device(value) for name, value in snapshot.parameters.items() if name in shapes}
    wrong = [name for name, shape in shapes.items() if name not in given or tuple(given[name].shape) != shape]
    if wrong:
        raise ModelError(f"the state of step {snapshot.step} belongs to another model: {wrong[0]} does not fit")
    return given


def state_of(snapshot: Snapshot, names: Container[str]) -> Tree:
    """What a snapshot's optimizer remembers of these parameters."""
    return {name: on_device(value) for name, value in snapshot.optimizer.items() if name.partition(".")[2] in names}


def sizes_of(arrays: Mapping[str, mx.array]) -> dict[str, int]:
    """Bytes of each."""
    return {name: value.nbytes for name, value in arrays.items()}


def readable(arrays: Mapping[str, Array]) -> Tree:
    """Arrays that other threads may view: under CUDA a view moves the buffer for good, so there it is a copy."""
    harmless = mx.default_device() == mx.Device(mx.cpu) or mx.metal.is_available()
    return dict(arrays) if harmless else copied(arrays)


def copied(arrays: Mapping[str, mx.array]) -> Tree:
    """The same values in memory of their own."""
    copies = {name: value + mx.zeros((), value.dtype) for name, value in arrays.items()}
    mx.eval(copies)
    return copies
