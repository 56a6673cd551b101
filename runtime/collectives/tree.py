"""The canonical summation tree over the V logical shards of a step, and sums that follow it.

Floating-point addition commutes but does not associate, so bits depend on the *shape* of a sum and on nothing else.
The shape here is one binary tree over the next power of two of V: a node is `(first, width)` and covers the leaves
`first .. first + width - 1`. Leaves at V and beyond are absent and vanish: a node whose right half is absent has the
value of its left half. Whoever owns which shards, the same additions happen in the same shape, hence the same bits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from runtime.flow import Node

T = TypeVar("T")


def root(total: int) -> Node:
    """The node over all of `total` shards."""
    if total < 1:
        raise ValueError(f"a summation tree needs at least one shard, not {total}")
    return 0, 1 << (total - 1).bit_length()


def highest(node: Node, total: int) -> Node:
    """The highest node with the same value: climbs while the right sibling is absent.

    Raises ValueError for something that is no node of the tree over `total` shards.
    """
    first, width = node
    if width < 1 or width & (width - 1) or first % width or not 0 <= first < total or width > root(total)[1]:
        raise ValueError(f"{node} is not a node of the summation tree over {total} shards")
    while width < root(total)[1] and first % (2 * width) == 0 and first + width >= total:
        width *= 2
    return first, width


def merged(left: Node, right: Node, total: int) -> Node | None:
    """The parent of two siblings (as high as `highest` goes), or None if they are not the two halves of one node."""
    first, width = left
    if width == right[1] and first + width == right[0] and first % (2 * width) == 0:
        return highest((first, 2 * width), total)
    return None


def shards_of(node: Node, total: int) -> range:
    """The shards (the present leaves) under `node`."""
    return range(node[0], min(node[0] + node[1], total))


def cover(shards: Iterable[int], total: int) -> tuple[Node, ...]:
    """The maximal nodes that exactly cover `shards`, from left to right; all shards give the root alone."""
    stack: list[Node] = []
    previous = -1
    for shard in sorted(shards):
        if shard == previous:
            raise ValueError(f"shard {shard} is listed twice")
        previous = shard
        _push_node(stack, highest((shard, 1), total), total)
    return tuple(stack)


def _push_node(stack: list[Node], node: Node, total: int) -> int:
    """Push `node` and merge it upwards; returns how many additions that made."""
    merges = 0
    while stack and (parent := merged(stack[-1], node, total)) is not None:
        stack.pop()
        node, merges = parent, merges + 1
    stack.append(node)
    return merges


def merges_after(nodes: Iterable[Node], total: int) -> tuple[int, ...]:
    """The tree as a program for a stack machine: after pushing nodes[i], add the two topmost values this many times.

    `nodes` ascend, are disjoint and cover all shards, so that one value is left at the end; ValueError otherwise.
    """
    stack: list[Node] = []
    program = tuple(_push_node(stack, highest(node, total), total) for node in nodes)
    if stack != [root(total)]:
        raise ValueError(f"the parts do not cover the {total} shards exactly once; what they add up to is {stack}")
    return program


class TreeSum(Generic[T]):
    """Sums values by the tree as they come, in ascending order, and keeps at most log2(V) + 1 of them.

    `add(left, right)` may return a new value or reuse `left`; it is never asked to change `right`.
    """

    def __init__(self, total: int, add: Callable[[T, T], T] = operator.add) -> None:
        self._total, self._add = total, add
        self._nodes: list[Node] = []
        self._values: list[T] = []

    def push(self, node: Node, value: T) -> None:
        """Take the value of one node (a shard is `(shard, 1)`) to the right of all nodes so far."""
        if self._nodes and node[0] < sum(self._nodes[-1]):
            raise ValueError(f"{node} is not to the right of {self._nodes[-1]}")
        self._values.append(value)
        for _ in range(_push_node(self._nodes, highest(node, self._total), self._total)):
            right = self._values.pop()
            self._values[-1] = self._add(self._values[-1], right)

    @property
    def parts(self) -> dict[Node, T]:
        """One value per maximal node that the pushed ones cover."""
        return dict(zip(self._nodes, self._values, strict=True))


def combine(parts: Mapping[Node, T], total: int, add: Callable[[T, T], T] = operator.add) -> T:
    """The sum over all shards, by the tree: the same bits however the shards are grouped into `parts`.

    Raises ValueError unless `parts` cover every shard exactly once.
    """
    nodes = sorted(parts)
    merges_after(nodes, total)
    tree: TreeSum[Any] = TreeSum(total, add)
    for node in nodes:
        tree.push(node, parts[node])
    (value,) = tree.parts.values()
    result: T = value
    return result
