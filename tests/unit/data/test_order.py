"""The permutation: exactly once per epoch, addressed by position, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.order import SampleOrder, permute


@given(count=st.integers(1, 700), seed=st.integers(0, 2**63), epoch=st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_every_sample_comes_exactly_once_per_epoch(count: int, seed: int, epoch: int) -> None:
    positions = np.arange(epoch * count, (epoch + 1) * count)
    assert sorted(SampleOrder(seed, count).ids(positions)) == list(range(count))


def test_any_position_is_found_without_the_ones_before_it() -> None:
    order = SampleOrder(3, 1000)
    whole = order.ids(np.arange(5000))
    assert [int(order.ids(np.array([at]))[0]) for at in (0, 999, 1000, 4321)] == [
        whole[at] for at in (0, 999, 1000, 4321)
    ]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = np.split(SampleOrder(0, 500).ids(np.arange(1000)), 2)
    other = SampleOrder(1, 500).ids(np.arange(500))
    for a, b in ((first, second), (first, other), (first, np.arange(500))):
        assert np.mean(a == b) < 0.05


def test_the_order_is_the_same_on_every_machine_and_version() -> None:
    assert SampleOrder(0, 10).ids(np.arange(20)).tolist() == [
        *[7, 8, 2, 6, 9, 3, 0, 4, 5, 1],
        *[9, 0, 3, 7, 4, 1, 6, 2, 8, 5],
    ]


def test_places_are_used_evenly() -> None:
    first_places = np.array([int(permute(np.zeros(1, np.int64), 10, seed)[0]) for seed in range(2000)])
    counted = np.bincount(first_places, minlength=10)
    assert np.min(counted) > 140
    assert np.max(counted) < 260


def test_without_shuffling_every_epoch_is_in_file_order() -> None:
    assert SampleOrder(0, 3, shuffle=False).ids(np.arange(7)).tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=r"0 \.\. 9"):
        permute(np.array([index]), 10, 0)
