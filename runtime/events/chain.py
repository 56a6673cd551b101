"""A sequence that never changes and grows cheaply: each append gives a new one that shares almost all of the old.

Items stand in full blocks of 64 and one open block, so that an append copies at most 64 references and, once in 64
times, the list of blocks. With a limit, whole blocks fall off the old end: `limit` to `limit + 126` items stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Chain(Generic[T]):
    """An immutable sequence, oldest first. Two chains with the same history are equal."""

    limit: int = 0
    """0: no limit; else at least this many of the newest items are kept."""
    blocks: tuple[tuple[T, ...], ...] = ()
    open: tuple[T, ...] = ()

    @classmethod
    def of(cls, items: Iterable[T], limit: int = 0) -> Chain[T]:
        """A chain of `items`, built at once."""
        everything = tuple(items)
        whole = len(everything) // _BLOCK * _BLOCK
        blocks = tuple(everything[start : start + _BLOCK] for start in range(0, whole, _BLOCK))
        return cls(limit, _within(limit, blocks, len(everything) - whole), everything[whole:])

    def append(self, item: T) -> Chain[T]:
        """The chain with `item` at its new end."""
        if len(self.open) < _BLOCK - 1:
            return Chain(self.limit, self.blocks, (*self.open, item))
        return Chain(self.limit, _within(self.limit, (*self.blocks, (*self.open, item)), 0), ())

    def without_end(self, drop: Callable[[T], bool]) -> Chain[T]:
        """The chain without the items at its new end for which `drop` holds; itself where there are none."""
        if self.last is None or not drop(self.last):
            return self
        items = list(self)
        while items and drop(items[-1]):
            items.pop()
        return Chain.of(items, self.limit)

    @property
    def last(self) -> T | None:
        """The newest item, None where there is none."""
        if self.open:
            return self.open[-1]
        return self.blocks[-1][-1] if self.blocks else None

    def newest(self, count: int) -> tuple[T, ...]:
        """The last `count` items (or all), oldest of them first."""
        items = self.open
        for block in reversed(self.blocks):
            if len(items) >= count:
                break
            items = block + items
        return items[max(0, len(items) - count) :]

    def __iter__(self) -> Iterator[T]:
        return chain(chain.from_iterable(self.blocks), self.open)

    def __len__(self) -> int:
        return len(self.blocks) * _BLOCK + len(self.open)


def _within(limit: int, blocks: tuple[tuple[T, ...], ...], loose: int) -> tuple[tuple[T, ...], ...]:
    """`blocks` without the oldest ones that the limit does not need."""
    if not limit:
        return blocks
    surplus = (len(blocks) * _BLOCK + loose - limit) // _BLOCK
    return blocks[surplus:] if surplus > 0 else blocks
