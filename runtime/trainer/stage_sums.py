"""Where a stage's gradients go: float32 sums in the order in which an unpipelined worker adds them. A `stage.Sink`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx

from runtime.collectives.tree import TreeSum
from runtime.flow import Micro, Node
from runtime.trainer.gradients import Tree, power_of_two


def weights_of(micros: Sequence[Micro], scale: float | None) -> list[float]:
    """What a row's loss counts in each micro-batch: with float16's loss scale as in `gradients`, else once."""
    return [1.0 if scale is None else scale / power_of_two(micro.tokens_BT.size) for micro in micros]


@dataclass
class StageSums:
    """The sums of one step on one stage. Gradients come by chunk of the stage, ascending in the micro-batch."""

    micros: Sequence[Micro]
    weights: Sequence[float]
    """What a row's loss counted in the gradients of each micro-batch: they are divided by it."""
    logical_shards: int
    deterministic: bool
    losses_by_micro: dict[int, mx.array] = field(default_factory=dict)
    """Of each row [B], in the last stage."""
    _chunks: dict[int, _Row | _ByTree] = field(default_factory=dict)

    @property
    def losses_in_order(self) -> list[mx.array]:
        """Of every micro-batch [B]; zeros in all stages but the last."""
        return [self.losses_by_micro.get(i, mx.zeros(len(micro.shards))) for i, micro in enumerate(self.micros)]

    def losses(self, micro_batch: int, losses_B: mx.array) -> None:
        """See Sink."""
        self.losses_by_micro[micro_batch] = losses_B

    def gradients(self, micro_batch: int, chunk: int, gradients: Tree) -> None:
        """See Sink."""
        weight = self.weights[micro_batch]
        wide = {name: value.astype(mx.float32) for name, value in gradients.items()}
        if weight != 1.0:
            wide = {name: value / weight for name, value in wide.items()}
        if chunk not in self._chunks:
            self._chunks[chunk] = _ByTree(self.logical_shards) if self.deterministic else _Row()
        self._chunks[chunk].add((self.micros[micro_batch].shards[0], 1), wide)

    def total(self) -> Tree | dict[Node, Tree]:
        """Everything, over the stage's chunks; by node of the summation tree where that is the order of sums."""
        nodes: dict[Node, Tree] = {}
        for chunk in self._chunks.values():
            for node, value in chunk.parts().items():
                nodes[node] = nodes.get(node, {}) | value
        return nodes if self.deterministic else nodes[_ALL]


_ALL: Node = (0, 0)
"""Where everything is one sum."""


class _Row:
    """One after the other."""

    def __init__(self) -> None:
        self.total: Tree = {}

    def add(self, _: Node, gradients: Tree) -> None:
        self.total = _added(self.total, gradients) if self.total else gradients
        mx.eval(self.total)

    def parts(self) -> dict[Node, Tree]:
        return {_ALL: self.total}


class _ByTree:
    """Micro-batches of a shard one after the other, and shards by the summation tree."""

    def __init__(self, logical_shards: int) -> None:
        self._tree: TreeSum[Tree] = TreeSum(logical_shards, _added)
        self._node: Node | None = None
        self._shard: Tree = {}

    def add(self, node: Node, gradients: Tree) -> None:
        if node != self._node:
            self._close()
            self._node, self._shard = node, gradients
        else:
            self._shard = _added(self._shard, gradients)
        mx.eval(self._shard)

    def parts(self) -> dict[Node, Tree]:
        self._close()
        self._node = None
        return self._tree.parts

    def _close(self) -> None:
        if self._node is not None:
            self._tree.push(self._node, self._shard)
            mx.eval(list(self._tree.parts.values()))


def _added(left: Tree, right: Tree) -> Tree:
    return {name: value + right[name] for name, value in left.items()}
