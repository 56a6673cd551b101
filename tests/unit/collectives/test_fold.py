"""One piece: terms in any order of arrival, from any thread, give the bits of the fixed order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.collectives.exchange import Term
from runtime.collectives.fold import Fold, Scratch
from runtime.collectives.tree import combine, merges_after
from runtime.ids import Rank

TOTAL = 11


class Slot:
    """A lane's slot: its content is overwritten as soon as it is released."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values.copy()
        self.releases = 0

    def release(self) -> None:
        self.releases += 1
        self.values.fill(np.nan)


def case(seed: int, mine: set[int]) -> tuple[list[Term], list[np.ndarray], Callable[[Term], list[np.ndarray] | None]]:
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(5).astype(np.float32) for _ in range(TOTAL)]
    nodes = [(shard, 1) for shard in range(TOTAL)]
    terms = [
        Term(Rank(node[0]), (node,), merges) for node, merges in zip(nodes, merges_after(nodes, TOTAL), strict=True)
    ]
    return terms, values, lambda term: [values[term.rank]] if term.rank in mine else None


@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, TOTAL - 1)), st.permutations(range(TOTAL)))
def test_any_order_of_arrival_gives_the_bits_of_the_tree(seed: int, mine: set[int], order: list[int]) -> None:
    terms, values, local = case(seed, mine)
    out = np.empty(5, np.float32)
    fold = Fold(terms, out, local, Scratch(5))
    slots = {index: Slot(values[index]) for index in order if index not in mine}
    ends = [fold.advance()] + [fold.offer(index, slot.values, slot.release) for index, slot in slots.items()]
    assert ends.count(True) == 1
    assert [slot.releases for slot in slots.values()] == [1] * len(slots)
    assert out.tobytes() == combine({(i, 1): v for i, v in enumerate(values)}, TOTAL).tobytes()


def test_several_local_parts_of_one_term_are_summed_on_the_way() -> None:
    parts = [np.full(3, value, np.float32) for value in (1, 2, 4)]
    terms = [Term(Rank(0), (), 0), Term(Rank(1), (), 1)]
    out = np.empty(3, np.float32)
    fold = Fold(terms, out, lambda term: None if term.rank == 0 else parts, Scratch(3))
    slot = Slot(np.full(3, 8, np.float32))
    assert not fold.advance()
    assert fold.offer(0, slot.values, slot.release)
    assert list(out) == [15, 15, 15]
    assert [list(part) for part in parts] == [[1] * 3, [2] * 3, [4] * 3]


def test_threads_that_offer_at_once_complete_the_sum_once() -> None:
    terms, values, local = case(7, set())
    out = np.empty(5, np.float32)
    fold = Fold(terms, out, local, Scratch(5))
    slots = [Slot(value) for value in values]
    gate = threading.Barrier(TOTAL)
    ends: list[bool] = []

    def offer(index: int) -> None:
        gate.wait()
        ends.append(fold.offer(index, slots[index].values, slots[index].release))

    threads = [threading.Thread(target=offer, args=(index,)) for index in range(TOTAL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends.count(True) == 1
    assert out.tobytes() == combine({(i, 1): v for i, v in enumerate(values)}, TOTAL).tobytes()


def test_a_dropped_fold_returns_every_slot_and_refuses_more() -> None:
    terms, values, local = case(1, set())
    fold = Fold(terms, np.empty(5, np.float32), local, Scratch(5))
    held, late = Slot(values[3]), Slot(values[0])
    assert not fold.offer(3, held.values, held.release)
    assert held.releases == 0
    fold.drop()
    assert not fold.offer(0, late.values, late.release)
    assert not fold.advance()
    assert (held.releases, late.releases) == (1, 1)


def test_a_term_that_comes_twice_is_added_once() -> None:
    terms, values, local = case(1, set())
    fold = Fold(terms, np.empty(5, np.float32), local, Scratch(5))
    slots = [Slot(values[5]) for _ in range(2)]
    for slot in slots:
        assert not fold.offer(5, slot.values, slot.release)
    assert [slot.releases for slot in slots] == [0, 1]


def test_scratch_is_used_again() -> None:
    pool = Scratch(4)
    first = pool.take()
    pool.give(first)
    assert pool.take() is first
