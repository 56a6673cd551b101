"""The canonical tree: the bits of a sum do not depend on who owns which shards."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.collectives.tree import TreeSum, combine, cover, highest, merged, merges_after, root, shards_of
from runtime.flow import Node

totals = st.integers(1, 40)


@st.composite
def ownerships(draw: st.DrawFn) -> tuple[int, list[int]]:
    total = draw(totals)
    return total, draw(st.lists(st.integers(0, 7), min_size=total, max_size=total))


def leaves(total: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(9) * 10.0 ** rng.integers(-6, 6)).astype(np.float32) for _ in range(total)]


def tree_by_definition(values: list[np.ndarray], first: int, width: int) -> np.ndarray | None:
    if first >= len(values):
        return None
    if width == 1:
        return values[first]
    left = tree_by_definition(values, first, width // 2)
    right = tree_by_definition(values, first + width // 2, width // 2)
    return left if left is None or right is None else left + right


def parts_of(owner: int, owners: list[int], values: list[np.ndarray]) -> dict[Node, np.ndarray]:
    total = len(values)
    mine = [shard for shard, each in enumerate(owners) if each == owner]
    tree: TreeSum[np.ndarray] = TreeSum(total)
    for shard in mine:
        tree.push((shard, 1), values[shard])
    assert tuple(tree.parts) == cover(mine, total)
    return tree.parts


@given(ownerships(), st.integers(0, 2**32 - 1))
def test_any_ownership_gives_the_bits_of_the_full_tree(case: tuple[int, list[int]], seed: int) -> None:
    total, owners = case
    values = leaves(total, seed)
    parts: dict[Node, np.ndarray] = {}
    for owner in set(owners):
        parts |= parts_of(owner, owners, values)
    expected = tree_by_definition(values, *root(total))
    assert expected is not None
    assert combine(parts, total).tobytes() == expected.tobytes()


@given(ownerships())
def test_a_cover_is_exact_disjoint_and_cannot_be_merged_further(case: tuple[int, list[int]]) -> None:
    total, owners = case
    mine = [shard for shard, owner in enumerate(owners) if owner == owners[0]]
    nodes = cover(mine, total)
    assert [shard for node in nodes for shard in shards_of(node, total)] == mine
    assert all(merged(left, right, total) is None for left in nodes for right in nodes)
    assert all(highest(node, total) == node for node in nodes)


@given(totals)
def test_all_shards_are_covered_by_the_root_alone(total: int) -> None:
    assert cover(range(total), total) == (root(total),)
    assert root(total)[1] >= total > root(total)[1] // 2


def test_order_of_addition_matters_so_the_tree_is_worth_its_name() -> None:
    values = leaves(16, 3)
    assert combine({(i, 1): v for i, v in enumerate(values)}, 16).tobytes() != reduce(np.add, values).tobytes()


def test_an_absent_right_half_vanishes() -> None:
    assert cover([4], 5) == ((4, 4),)
    assert cover([0, 1, 2, 3, 4], 5) == ((0, 8),)
    assert cover([4, 5, 6], 7) == ((4, 4),)
    assert merges_after([(0, 4), (4, 1)], 5) == (0, 1)


def test_the_program_of_interleaved_owners_keeps_a_short_stack() -> None:
    assert merges_after([(0, 1), (1, 1), (2, 1), (3, 1)], 4) == (0, 1, 0, 2)
    assert merges_after([(0, 4), (4, 2), (6, 1), (7, 1)], 8) == (0, 0, 0, 3)


@pytest.mark.parametrize("node", [(0, 3), (1, 2), (4, 1), (-1, 1), (0, 0), (0, 8)])
def test_a_node_that_is_not_in_the_tree_is_refused(node: Node) -> None:
    with pytest.raises(ValueError, match="is not a node"):
        highest(node, 4)


def test_parts_that_overlap_or_leave_a_gap_are_refused() -> None:
    with pytest.raises(ValueError, match="exactly once"):
        combine({(0, 1): 1.0, (2, 2): 2.0}, 4)
    tree: TreeSum[float] = TreeSum(4)
    tree.push((1, 1), 1.0)
    with pytest.raises(ValueError, match="not to the right"):
        tree.push((0, 1), 1.0)
    with pytest.raises(ValueError, match="listed twice"):
        cover([1, 1], 4)
    with pytest.raises(ValueError, match="at least one shard"):
        root(0)
