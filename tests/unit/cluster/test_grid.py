"""A grid of data x pipeline: who stands where, and what each rank is told of an order."""

from __future__ import annotations

import pytest

from runtime.cluster.grid import Grid
from runtime.cluster.messages import EvaluateWork, Rest, StepWork
from runtime.flow import StepOrder
from runtime.ids import Cursor, Generation, Rank, Step


def ranks(*numbers: int) -> tuple[Rank, ...]:
    return tuple(Rank(number) for number in numbers)


ORDER = StepOrder(Generation(2), Step(5), Cursor(64), 16, ranks(0, 0, 3, 3), ranks(0, 1, 2, 3, 4, 5))


def test_groups_are_consecutive_ranks_and_twins_the_same_stage_of_each() -> None:
    grid = Grid(3)
    assert grid.group_of(Rank(4)) == ranks(3, 4, 5)
    assert [grid.stage_of(Rank(rank)) for rank in range(6)] == [0, 1, 2, 0, 1, 2]
    assert [grid.is_last(Rank(rank)) for rank in range(3)] == [False, False, True]
    assert grid.twins(Rank(4), ranks(0, 1, 2, 3, 4, 5)) == ranks(1, 4)


def test_only_a_whole_group_has_a_lead_and_twins_stand_in_for_a_missing_stage() -> None:
    grid = Grid(2)
    assert grid.leads(ranks(3, 0, 1, 5)) == ranks(0)
    assert grid.leads(ranks(2, 3, 0, 1)) == ranks(0, 2)
    assert grid.covered_by(ranks(0, 3))
    assert not grid.covered_by(ranks(1, 3))
    assert not grid.covered_by(())


@pytest.mark.parametrize(("rank", "owners", "receivers"), [(0, (0, 0, 3, 3), (0, 3)), (5, (2, 2, 5, 5), (2, 5))])
def test_a_rank_sees_an_order_that_its_twins_share(rank: int, owners: tuple[int, ...], receivers: object) -> None:
    seen = Grid(3).view(ORDER, Rank(rank))
    assert (seen.owners, seen.receivers) == (owners, receivers)
    assert (seen.generation, seen.step, seen.cursor, seen.samples) == (2, 5, 64, 16)


def test_everybody_of_an_owning_group_contributes() -> None:
    assert Grid(3).contributors(ORDER) == ranks(0, 1, 2, 3, 4, 5)
    assert Grid(1).contributors(ORDER) == ranks(0, 3)


def test_an_evaluation_is_shared_out_over_groups_and_rest_is_for_all() -> None:
    grid = Grid(2)
    work = grid.work(EvaluateWork(ranks(0, 1, 2, 3), 0, 7), Rank(3))
    assert work == EvaluateWork(ranks(1, 3), 0, 7)
    assert grid.work(Rest("closing"), Rank(3)) == Rest("closing")
    stepping = grid.work(
        StepWork(StepOrder(*(Generation(1), Step(1), Cursor(0), 4), ranks(0, 2), ranks(0, 1, 2, 3))), Rank(1)
    )
    assert isinstance(stepping, StepWork)
    assert stepping.order.owners == ranks(1, 3)


def test_without_a_pipeline_everything_is_as_it_was() -> None:
    grid = Grid()
    assert grid.view(ORDER, Rank(4)) is ORDER
    assert grid.leads(ranks(4, 1)) == ranks(1, 4)
    assert grid.is_last(Rank(4))
