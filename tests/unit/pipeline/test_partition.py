"""The cut of the layers: as good as the best of all cuts, within the memory of every device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.pipeline.partition import (
    Cost,
    Device,
    ModelCosts,
    NoPartition,
    Partition,
    best,
    explicit,
    overfull,
    stage_bytes,
    times_of,
)


def layer(seconds: float, kept: int = 0, activation: int = 0) -> Cost:
    return Cost(seconds / 4, seconds / 4, seconds / 2, kept, activation)


layers = st.builds(layer, st.integers(1, 9), st.integers(0, 9), st.integers(0, 3))
devices = st.builds(Device, st.integers(20, 60), st.sampled_from([1.0, 2.0]))


def cuts(count: int, stages: int) -> Iterator[tuple[int, ...]]:
    for bounds in combinations(range(1, count), stages - 1):
        yield tuple(end - start for start, end in zip((0, *bounds), (*bounds, count), strict=True))


def largest(partition: Partition, costs: ModelCosts, on: list[Device]) -> float:
    return max(piece.forward_s + piece.backward_s for piece in times_of(partition, costs, on))


@settings(max_examples=40)
@given(st.lists(layers, min_size=1, max_size=8), layers, layers, st.lists(devices, min_size=1, max_size=4))
def test_no_cut_is_better_than_the_best(model: list[Cost], first: Cost, last: Cost, on: list[Device]) -> None:
    costs, in_flight = ModelCosts(tuple(model), first, last), [len(on) - stage for stage in range(len(on))]
    allowed = [
        partition
        for split in cuts(len(model), len(on))
        if overfull(partition := Partition(split, len(on)), costs, on, in_flight) is None
    ]
    if not allowed:
        with pytest.raises(NoPartition):
            best(costs, on, in_flight)
        return
    found = best(costs, on, in_flight)
    assert found in allowed
    assert largest(found, costs, on) == min(largest(each, costs, on) for each in allowed)


@settings(max_examples=25)
@given(st.lists(layers, min_size=6, max_size=9), st.integers(20, 80))
def test_several_chunks_per_stage_fit_into_its_memory_or_are_refused(model: list[Cost], memory: int) -> None:
    costs, on = ModelCosts(tuple(model)), [Device(memory)] * 3
    try:
        found = best(costs, on, [2, 2, 2], chunks=2)
    except NoPartition:
        return
    assert sum(found.layers) == len(model)
    assert (len(found.layers), found.chunks, min(found.layers)) == (6, 2, min(found.layers))
    assert overfull(found, costs, on, [2, 2, 2]) is None


def test_chunks_that_do_not_fit_as_they_are_best_are_cut_for_memory() -> None:
    costs = ModelCosts((layer(4, 1), layer(1, 1), layer(1, 1), layer(1, 1), layer(1, 1), layer(1, 1)))
    free = best(costs, [Device(), Device()], [0, 0], chunks=2)
    assert free.layers == (1, 1, 1, 3) or max(free.layers) == 2
    tight = [Device(4), Device(4)]
    assert overfull(best(costs, tight, [0, 0], chunks=2), costs, tight, [0, 0]) is None


def test_equal_layers_are_cut_evenly_even_beside_one_slow_stage() -> None:
    costs = ModelCosts((layer(1),) * 8, head=layer(9))
    assert best(costs, [Device()] * 4, [0] * 4).layers == (2, 2, 3, 1)


def test_embedding_and_head_count() -> None:
    costs = ModelCosts((layer(1),) * 6, embedding=layer(3), head=layer(3))
    assert best(costs, [Device()] * 3, [0] * 3).layers == (1, 4, 1)


def test_both_ends_hold_a_tied_table() -> None:
    table = Cost(0, 0, 0, kept_bytes=10)
    costs = ModelCosts((layer(1, kept=1),) * 4, embedding=table, head=table)
    assert stage_bytes(Partition((2, 2), 2), costs, [0, 0]) == (12, 12)


def test_a_device_twice_as_fast_holds_twice_the_layers() -> None:
    assert best(ModelCosts((layer(1),) * 9), [Device(speed=2.0), Device()], [0, 0]).layers == (6, 3)


def test_activations_in_flight_count_against_the_memory() -> None:
    costs = ModelCosts((layer(1, kept=1, activation=1),) * 6)
    assert best(costs, [Device(8), Device(99)], [1, 1]).layers == (3, 3)
    assert best(costs, [Device(8), Device(99)], [3, 1]).layers == (2, 4)
    with pytest.raises(NoPartition, match="no cut of the layers fits"):
        best(costs, [Device(8), Device(8)], [3, 3])
    assert overfull(Partition((3, 3), 2), costs, [Device(8), Device(8)], [3, 1]) == (
        "stage 0 needs 0.00 GB and its device has 0.00 GB"
    )


def test_fewer_layers_than_stages_are_refused() -> None:
    with pytest.raises(NoPartition, match="2 layers cannot fill 3 positions"):
        best(ModelCosts((layer(1),) * 2), [Device()] * 3, [1] * 3)


def test_a_stage_holds_every_so_many_positions() -> None:
    partition = Partition((1, 2, 3, 4), 2)
    assert partition.bounds() == ((0, 1), (1, 3), (3, 6), (6, 10))
    assert partition.layers_of(0) == (0, 3, 4, 5)
    assert partition.layers_of(1) == (1, 2, 6, 7, 8, 9)


def test_a_split_of_the_user_is_taken_as_it_is() -> None:
    assert explicit((1, 3), ModelCosts((layer(1),) * 4), 2) == Partition((1, 3), 2)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ((4,), "names 1 stages, there are 2"),
        ((4, 0), "at least one layer"),
        ((1, 2), "adds up to 3 layers, the model has 4"),
    ],
)
def test_a_split_that_is_none_of_the_model_is_refused(split: tuple[int, ...], words: str) -> None:
    with pytest.raises(NoPartition, match=words):
        explicit(split, ModelCosts((layer(1),) * 4), 2)


def test_what_was_measured_at_once_counts_at_once() -> None:
    measured = Cost(1, 2, 3, whole_backward_s=4)
    (piece,) = times_of(Partition((1,), 1), ModelCosts((measured,)), [Device(speed=2.0)])
    assert (measured.seconds, piece.backward_s, piece.backward_input_s) == (5, 2, 1)
    assert math.isclose(Cost(1, 2, 3).seconds, 6)
