"""Puts a function around every call of a model's layers, for any architecture, and takes it away again.

A layer stays the object that it was, with the same parameters under the same names, so that LoRA, quantisation,
saving and loading see no difference: only its class is exchanged for a subclass of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

Around: TypeAlias = Callable[[int, Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""(index of the layer, its own call, its first argument, the others, keywords) -> what the caller gets.

Where a model names the first argument, too, it is still the one that comes first."""


class Hooks:
    """While `installed`, every call of `layers[i]` is `around(i, ...)`. Several may be installed, one in another."""

    def __init__(self, layers: Sequence[Any], around: Around) -> None:
        self._layers, self._around = layers, around
        self._subclasses: dict[tuple[type, int], type] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The classes of the layers are exchanged inside this context, and only there."""
        before = [type(layer) for layer in self._layers]
        for index, layer in enumerate(self._layers):
            layer.__class__ = self._subclass(before[index], index)
        try:
            yield
        finally:
            for layer, base in zip(self._layers, before, strict=True):
                layer.__class__ = base

    def _subclass(self, base: Any, index: int) -> type:
        found = self._subclasses.get((base, index))
        if found is None:
            around = self._around

            def call(layer: Any, *args: Any, **keywords: Any) -> Any:
                if args:
                    return around(index, partial(base.__call__, layer), args[0], args[1:], keywords)
                (name, given), *others = keywords.items()
                by_name = partial(_by_name, partial(base.__call__, layer), name)
                return around(index, by_name, given, (), dict(others))

            found = self._subclasses[base, index] = type(base.__name__, (base,), {"__call__": call})
        return found


def _by_name(compute: Callable[..., Any], name: str, given: Any, **keywords: Any) -> Any:
    """A call whose first argument goes in under its name."""
    return compute(**{name: given}, **keywords)
