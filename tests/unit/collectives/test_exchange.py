"""The schedule: what one rank sends is what the other expects, and the volume is that of the formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.collectives.exchange import Phase, Plan, Schedule
from runtime.collectives.tree import cover
from runtime.ids import Generation, Rank, Step


def plan_for(owners: list[int], extra: tuple[int, ...] = (), *, deterministic: bool = False) -> Plan:
    total = len(owners)
    contributions = {
        Rank(rank): cover([shard for shard, owner in enumerate(owners) if owner == rank], total)
        for rank in sorted(set(owners))
    }
    receivers = tuple(Rank(rank) for rank in sorted({*owners, *extra}))
    return Plan(Generation(1), Step(1), contributions, receivers, total, deterministic)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=16), st.sets(st.integers(6, 8)), st.integers(0, 400))
def test_counts_agree_with_the_messages_themselves(owners: list[int], extra: set[int], elements: int) -> None:
    for deterministic in (False, True):
        plan = plan_for(owners, tuple(extra), deterministic=deterministic)
        schedule = Schedule(plan, elements, 128, 20)
        for source in plan.receivers:
            for target in plan.receivers:
                scatter, gather = schedule.scatter(source, target), schedule.gather(source, target)
                assert schedule.messages(source, target) == len(scatter) + len(gather)
                assert all(each.piece.owner == target and plan.terms[each.term].rank == source for each in scatter)
                assert all(each.piece.owner == source and each.phase is Phase.ALL_GATHER for each in gather)


@given(st.integers(2, 8))
def test_each_contributor_sends_what_the_formula_says(n: int) -> None:
    elements = 1_000_003
    schedule = Schedule(plan_for([shard % n for shard in range(16)]), elements, 1 << 18, 1 << 16)
    for source in range(n):
        sent = sum(
            each.piece.elements
            for target in range(n)
            for each in (*schedule.scatter(Rank(source), Rank(target)), *schedule.gather(Rank(source), Rank(target)))
        )
        assert sent == pytest.approx(2 * (n - 1) / n * elements, rel=0.02)


def test_one_rank_alone_sends_nothing() -> None:
    schedule = Schedule(plan_for([0, 0, 0]), 100, 50, 10)
    assert schedule.messages(Rank(0), Rank(0)) == 0
    assert schedule.scatter(Rank(0), Rank(0)) == schedule.gather(Rank(0), Rank(0)) == ()


def test_a_newcomer_owns_no_slice_and_gets_every_sum() -> None:
    schedule = Schedule(plan_for([0, 1, 0, 1], (2,)), 100, 50, 10)
    assert schedule.owned_by(Rank(2)) == ()
    assert schedule.scatter(Rank(2), Rank(0)) == schedule.gather(Rank(2), Rank(0)) == ()
    assert sum(each.piece.elements for rank in (0, 1) for each in schedule.gather(Rank(rank), Rank(2))) == 100


def test_terms_are_chained_by_rank_or_follow_the_tree() -> None:
    owners = [1, 0, 1, 0]
    assert [(term.rank, term.merges) for term in plan_for(owners).terms] == [(0, 0), (1, 1)]
    tree = plan_for(owners, deterministic=True).terms
    assert [(term.rank, term.nodes, term.merges) for term in tree] == [
        (1, ((0, 1),), 0),
        (0, ((1, 1),), 1),
        (1, ((2, 1),), 0),
        (0, ((3, 1),), 2),
    ]


def test_a_later_generation_is_newer_than_any_step_of_an_older_one() -> None:
    nodes = {Rank(0): cover([0], 1)}
    old = Plan(Generation(1), Step(9), nodes, (Rank(0),), 1)
    assert old.key < Plan(Generation(2), Step(1), nodes, (Rank(0),), 1).key


@pytest.mark.parametrize(
    ("contributions", "receivers", "sentence"),
    [
        ({}, (0,), "needs a contributor"),
        ({0: ()}, (0,), "needs a contributor"),
        ({0: ((0, 2),)}, (1,), "would not receive"),
        ({0: ((0, 2),)}, (0, 0), "receives twice"),
        ({0: ((0, 1),)}, (0,), "exactly once"),
    ],
)
def test_a_wrong_plan_is_refused_when_it_is_made(
    contributions: dict[Rank, tuple[tuple[int, int], ...]], receivers: tuple[Rank, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Plan(Generation(1), Step(1), contributions, receivers, 2)
