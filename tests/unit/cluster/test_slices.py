"""Who holds which slice of a sharded optimizer's state: balanced, redundant, and moved as little as possible."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cluster.slices import SLICES, Holders, copies_of, deal_slices, held_by, holders_of, parcels, senders
from runtime.ids import Rank

COUNTS = st.sampled_from([1, 7, 24, SLICES])
COPIES = st.integers(1, 3)
WORKERS = st.sets(st.integers(0, 11), min_size=1, max_size=8)


def ranks_of(numbers: set[int]) -> list[Rank]:
    return [Rank(number) for number in sorted(numbers)]


def is_fair(keepers: Holders, workers: set[int], copies: int) -> bool:
    """Whether every slice has so many keepers, all of them workers, and all workers have equal shares."""
    load = [len(held_by(rank, keepers)) for rank in ranks_of(workers)]
    kept = all(len(have) == min(copies, len(workers)) and set(have) <= workers for have in keepers)
    return kept and max(load) - min(load) <= 1


@given(COUNTS, COPIES, WORKERS, st.lists(WORKERS, max_size=4))
def test_whoever_comes_and_goes_every_slice_has_its_copies_and_everybody_an_equal_share(
    count: int, copies: int, workers: set[int], later: list[set[int]]
) -> None:
    keepers = deal_slices(ranks_of(workers), ((),) * count, copies)
    assert is_fair(keepers, workers, copies)
    for changed in later:
        keepers = deal_slices(ranks_of(changed), keepers, copies)
        assert is_fair(keepers, changed, copies)


def test_each_slice_has_its_copies_but_never_one_on_every_worker() -> None:
    assert [copies_of(workers, 2) for workers in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert [copies_of(workers, 4) for workers in (1, 2, 3, 8)] == [1, 1, 2, 4]


@given(st.integers(3, 8), st.data())
def test_a_loss_moves_what_was_lost_and_little_more(workers: int, data: st.DataObject) -> None:
    before = deal_slices(ranks_of(set(range(workers))), ((),) * SLICES, 2)
    lost = data.draw(st.integers(0, workers - 1))
    after = deal_slices([Rank(rank) for rank in range(workers) if rank != lost], before, 2)
    moved = sum(len(set(new) - set(old)) for old, new in zip(before, after, strict=True))
    assert moved <= len(held_by(Rank(lost), before)) + SLICES // 10


@given(st.integers(2, 8))
def test_a_newcomer_is_given_its_share_and_nobody_else_anything(workers: int) -> None:
    before = deal_slices(ranks_of(set(range(workers))), ((),) * SLICES, 2)
    after = deal_slices(ranks_of(set(range(workers + 1))), before, 2)
    given_to = Counter(rank for old, new in zip(before, after, strict=True) for rank in set(new) - set(old))
    assert given_to[Rank(workers)] == len(held_by(Rank(workers), after))
    assert given_to.total() <= given_to[Rank(workers)] + workers


def test_the_same_workers_keep_what_they_have() -> None:
    before = deal_slices(ranks_of({0, 1, 2, 5}), ((),) * SLICES, 2)
    assert deal_slices(ranks_of({0, 1, 2, 5}), before, 2) == before


def test_whoever_holds_everything_lets_go_of_what_is_too_much() -> None:
    both = ((Rank(0), Rank(1)),) * 6
    assert deal_slices([Rank(0), Rank(1), Rank(2)], both, 2) == deal_slices([Rank(0), Rank(1), Rank(2)], both, 2)
    assert is_fair(deal_slices([Rank(0), Rank(1), Rank(2)], both, 2), {0, 1, 2}, 2)
    assert is_fair(deal_slices([Rank(0)], both, 2), {0}, 2)


@given(COUNTS, COPIES, WORKERS)
def test_holders_speak_for_about_as_many_slices_each(count: int, copies: int, workers: set[int]) -> None:
    keepers = deal_slices(ranks_of(workers), ((),) * count, copies)
    speaking = senders(keepers)
    assert all(rank in have for rank, have in zip(speaking, keepers, strict=True))
    assert max(Counter(speaking).values()) <= -(-count // len(workers)) + 1


def test_a_slice_that_nobody_holds_has_no_sender() -> None:
    with pytest.raises(ValueError, match="nobody holds slice 1"):
        senders(((Rank(0),), ()))


def test_parcels_bring_parameters_to_whoever_has_none_and_state_to_whoever_keeps_it() -> None:
    holders = ((Rank(0), Rank(1)), (Rank(1),))
    keepers = ((Rank(0), Rank(2)), (Rank(1), Rank(2)))
    first, second = parcels([Rank(0), Rank(1), Rank(2)], holders, keepers)
    assert (first.sender, first.parameters_to, first.state_to) == (0, (2,), (2,))
    assert (second.sender, second.parameters_to, second.state_to) == (1, (0, 2), (2,))


def test_holders_and_their_slices_say_the_same() -> None:
    keepers = deal_slices(ranks_of({0, 1, 2}), ((),) * 8, 2)
    assert holders_of({Rank(rank): held_by(Rank(rank), keepers) for rank in range(3)}, 8) == keepers
    assert holders_of({}, 0) == ()
