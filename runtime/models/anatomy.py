"""How a model is built, found from one lazy call: its layers, what is before and behind them, whether it can be cut.

Any mlx_lm model is a table of tokens, a list of layers that hand one array on, and a head. A model that is built
otherwise cannot be cut into stages, and is refused by name with the reason. Nothing is evaluated and nothing is loaded:
the call only builds MLX's graph, and the graph says which array reads which parameter.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from runtime.errors import ModelError
from runtime.models.hooks import Hooks

PROBE_TOKENS = 8
"""Positions of the row that is sent through the model; all of them of token 0."""


@dataclass(frozen=True)
class Anatomy:
    """What a pipeline must know of a model. Names are the model's own dotted ones, whatever stage holds them."""

    architecture: str
    layers: tuple[tuple[str, ...], ...]
    """The parameters of each layer."""
    before: frozenset[str]
    """Parameters that the first layer's input is made of: the embedding."""
    behind: frozenset[str]
    """Parameters that turn the last layer's output into logits: norm and head; and whatever nothing reads."""
    tail: tuple[int, ...]
    """Shape of a position at every boundary between layers: an activation is [rows, positions, *tail]."""
    dtype: mx.Dtype
    """Of the activations."""

    @property
    def tied(self) -> frozenset[str]:
        """Parameters of both ends (tied embeddings): both hold them, and their gradient is the sum of both ends'."""
        return self.before & self.behind

    @cached_property
    def count(self) -> int:
        """Layers of the model."""
        return len(self.layers)

    def owned(self, first: int, stop: int) -> frozenset[str]:
        """The parameters that layers `first` to `stop` - 1 and, at an end of the model, that end are made of."""
        if not 0 <= first < stop <= self.count:
            raise ValueError(f"layers {first} to {stop} of a model with {self.count}")
        names = {name for layer in self.layers[first:stop] for name in layer}
        if first == 0:
            names |= self.before
        if stop == self.count:
            names |= self.behind
        return frozenset(names)


class Uncuttable(ModelError):
    """A model that cannot be cut into stages; its text says which architecture, and why."""


def layers_of(model: Any) -> Sequence[Any]:
    """The model's list of layers. Raises Uncuttable when it has none, or one module in two places of it."""
    layers = getattr(model, "layers", None)
    if not isinstance(layers, list | tuple) or not layers:
        raise _refusal(model, "it has no list of layers")
    if len({id(layer) for layer in layers}) < len(layers):
        raise _refusal(model, "several of its layers are one and the same module")
    return layers


def examine(model: Any) -> Anatomy:
    """The anatomy of an mlx_lm model, evaluated or still lazy. Raises Uncuttable.

    The model is as it was afterwards.
    """
    layers = layers_of(model)
    parameters: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    names = _names_by_layer(model, layers, tuple(parameters))
    outside = {name: parameters[name] for name in parameters.keys() - {name for layer in names for name in layer}}
    trace = _trace(model, layers)
    boundaries = {f"layer {index}": made for index, made in enumerate(trace.made)}
    for index, extra in enumerate(trace.extras):
        read = _reads(extra, boundaries | outside)
        if late := sorted(read & boundaries.keys(), key=len):
            raise _refusal(model, f"layer {index} also reads an output of {late[0]}, past the layers between them")
        if read:
            raise _refusal(model, f"layer {index} also reads {min(read)}, which belongs to an end of the model")
    before = _reads([trace.entrance], outside)
    behind = _reads([trace.logits], boundaries | outside)
    if early := sorted(behind & boundaries.keys() - {f"layer {len(layers) - 1}"}):
        raise _refusal(model, f"its head also reads an output of {early[0]}")
    behind = (behind & outside.keys()) | (outside.keys() - before - behind)
    entrance = trace.entrance
    architecture = _name(model)
    return Anatomy(architecture, names, frozenset(before), frozenset(behind), tuple(entrance.shape[2:]), entrance.dtype)


@dataclass
class _Trace:
    """What the layers of one call were given and gave."""

    entrance: Any = None
    made: list[mx.array] = field(default_factory=list)
    """In the place of each layer's output: a fresh array, so that nothing of one layer is in the graph of the next, and
    so that a layer that looks at its values (some experts are chosen in Python) evaluates nothing but itself."""
    extras: list[list[mx.array]] = field(default_factory=list)
    """The arrays that each layer was given beside its input."""
    logits: Any = None


def _trace(model: Any, layers: Sequence[Any]) -> _Trace:
    trace = _Trace()
    made, extras = trace.made, trace.extras

    def around(index: int, compute: Any, given: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        if index != len(made):
            raise _refusal(model, f"layer {index} is called when it is the turn of layer {len(made)}")
        if not isinstance(given, mx.array) or given.shape[:2] != (1, PROBE_TOKENS) or given.ndim < 3:
            raise _refusal(model, f"layer {index} is not given one array of [rows, positions, ...]")
        if index == 0:
            trace.entrance = given
        elif given is not made[-1]:
            raise _refusal(model, f"something is computed between layers {index - 1} and {index}")
        extras.append(list(_arrays((args, keywords))))
        stand_in = mx.zeros(given.shape, given.dtype) if index == 0 else given
        output = compute(stand_in, *args, **keywords)
        if not isinstance(output, mx.array):
            raise _refusal(model, f"layer {index} hands on more than one array")
        if output.shape != given.shape or output.dtype != given.dtype:
            raise _refusal(model, f"layer {index} changes the shape or the dtype of what it is given")
        made.append(mx.zeros(output.shape, output.dtype))
        return made[-1]

    with Hooks(layers, around).installed():
        try:
            trace.logits = model(mx.zeros((1, PROBE_TOKENS), mx.int32))
        except ModelError:
            raise
        except Exception as error:  # whatever the architecture's own code raises when it is called with tokens alone
            raise _refusal(model, f"it cannot be called with tokens alone ({error})") from error
    if len(made) < len(layers):
        raise _refusal(model, f"layer {len(made)} is never called")
    if not isinstance(trace.logits, mx.array):
        raise _refusal(model, "it does not return one array of logits")
    return trace


def _arrays(value: Any) -> Iterator[mx.array]:
    """Every array in nested tuples, lists and dictionaries."""
    if isinstance(value, mx.array):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _arrays(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _arrays(each)


_EDGE = re.compile(r'^("?)([^"]+?)\1 -> ("?)([^"]+?)\3$')


def _reads(outputs: Iterable[mx.array], named: Mapping[str, mx.array]) -> set[str]:
    """The names of those arrays of `named` that the graph of `outputs` reads, directly or not."""
    outputs = list(outputs)
    if not outputs:
        return set()
    labels = {f"n{index}": name for index, name in enumerate(named)}
    text = io.StringIO()
    mx.export_to_dot(text, *outputs, **{label: named[name] for label, name in labels.items()})
    found = {edge[2] for line in text.getvalue().splitlines() if (edge := _EDGE.match(line.strip()))}
    themselves = {label for label, name in labels.items() if any(named[name] is output for output in outputs)}
    return {labels[each] for each in (found | themselves) & labels.keys()}


def _names_by_layer(model: Any, layers: Sequence[Any], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The full names of each layer's parameters."""
    prefixes = {id(module): name for name, module in model.named_modules()}
    if missing := [index for index, layer in enumerate(layers) if id(layer) not in prefixes]:
        raise _refusal(model, f"its layer {missing[0]} is no part of it")
    starts = [f"{prefixes[id(layer)]}." for layer in layers]
    return tuple(tuple(name for name in names if name.startswith(start)) for start in starts)


def _name(model: Any) -> str:
    name = getattr(model, "model_type", None) or type(model).__module__.rpartition(".")[2]
    return str(name)


def _refusal(model: Any, why: str) -> Uncuttable:
    return Uncuttable(f"{_name(model)} cannot be cut into stages: {why}; leave parallel.pipeline at 1")
