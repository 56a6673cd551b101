"""Samples packed into rows: the peers' cases by number, and the loss of a packed row."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.packing import attention_of, best_fit, efficiency, fill

Rows = list[list[list[int]]]


def packed(samples: list[list[int]], capacity: int) -> Rows:
    return [[samples[number] for number in row] for row in best_fit([len(each) for each in samples], capacity)]


def filled(rows: Rows, tokens: int) -> Any:
    arrays = [[(np.array(ids, np.int32), np.ones(len(ids), np.uint8)) for ids in row] for row in rows]
    return fill(arrays, tokens)


@pytest.mark.parametrize(
    ("case", "capacity", "samples", "rows"),
    [
        (1, 4, [[1, 2, 3], [4, 5, 6, 7], [8]], [[[4, 5, 6, 7]], [[1, 2, 3], [8]]]),
        (5, 4, [[1, 2], [], [3, 4, 5], [], [6]], [[[3, 4, 5], [6]], [[1, 2]]]),
        (9, 100, [[1] * 50, [2] * 70, [3] * 25, [4] * 40], [[[2] * 70, [3] * 25], [[1] * 50, [4] * 40]]),
    ],
)
def test_cases_1_5_9_the_fullest_row_with_room_takes_the_next_longest(
    case: int, capacity: int, samples: list[list[int]], rows: Rows
) -> None:
    """Case 9 is Grain's first fit in order, {50, 25}, {70}, {40}; longest first needs a row less."""
    assert packed(samples, capacity) == rows


def test_case_2_a_longer_sample_is_not_cut_here() -> None:
    """Cutting is data.overlength's; what it leaves packs as the peers' does."""
    with pytest.raises(ValueError, match="a sample of 5 tokens does not fit a row of 4"):
        packed([[1, 2, 3, 4, 5], [6, 7], [8, 9, 10, 11], [12]], 4)
    assert packed([[1, 2, 3, 4], [6, 7], [8, 9, 10, 11], [12]], 4) == [
        [[1, 2, 3, 4]],
        [[8, 9, 10, 11]],
        [[6, 7], [12]],
    ]


def test_case_4_a_width_that_is_no_power_of_two_packs_without_a_split() -> None:
    samples = [[1, 2, 3, 4, 5], [6], [7, 8, 9, 10], [11, 12, 13]]
    assert packed(samples, 5) == [[[1, 2, 3, 4, 5]], [[7, 8, 9, 10], [6]], [[11, 12, 13]]]


def test_case_7_and_bug_12_rows_of_8193_hold_two_samples_of_about_4096() -> None:
    lengths = np.clip(np.random.default_rng(0).normal(4096, 512, 3000).astype(np.int64), 1, 8193)
    rows = best_fit(lengths, 8193)
    assert 1500 <= len(rows) <= 1650
    assert efficiency(lengths, len(rows), 8193) > 0.9


def test_case_8_segments_and_positions_begin_anew_with_each_sample() -> None:
    """Grain numbers the same three samples in two rows of 10; a row here is as wide as its batch says."""
    rows = packed([[1] * 4, [2] * 8, [3] * 2], 10)
    assert [[len(ids) for ids in row] for row in rows] == [[8, 2], [4]]
    found = filled([[[1] * 4, [3] * 2], [[2] * 8]], 10)
    assert found.segments_BT.tolist() == [[1, 1, 1, 1, 2, 2, 0, 0, 0, 0], [1] * 8 + [0, 0]]
    assert found.positions_BT.tolist() == [[0, 1, 2, 3, 0, 1, 0, 0, 0, 0], [*range(8), 0, 0]]


@pytest.mark.parametrize(
    ("case", "rows", "labels"),
    [
        (10, [[[1, 2, 3], [4, 5]]], [[-100, 2, 3, -100, 5]]),
        (11, [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9, 10], [11]]], [[-100, 2, 3, -100, 5, 6], [-100, 8, 9, 10, -100, -100]]),
    ],
)
def test_cases_10_11_the_first_token_of_each_sample_is_no_target(case: int, rows: Rows, labels: Any) -> None:
    found = filled(rows, len(labels[0]))
    assert np.where(found.mask_BT > 0, found.tokens_BT, -100).tolist() == labels


def test_case_12_samples_attend_to_themselves_and_padding_to_nothing_else() -> None:
    found = filled([[[1, 1, 1], [2, 2]]], 6)
    assert attention_of(found.segments_BT)[0, 0].astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


@given(lengths=st.lists(st.integers(0, 30), max_size=60), capacity=st.integers(30, 64))
@settings(max_examples=40, deadline=None)
def test_case_13_every_sample_is_in_exactly_one_row_that_it_fits(lengths: list[int], capacity: int) -> None:
    rows = best_fit(lengths, capacity)
    assert sorted(number for row in rows for number in row) == [n for n, length in enumerate(lengths) if length]
    assert all(sum(lengths[number] for number in row) <= capacity for row in rows)
    assert rows == best_fit(lengths, capacity)


def test_a_row_that_is_too_long_is_refused_and_nothing_packs_into_nothing() -> None:
    with pytest.raises(ValueError, match="row 0 has more than 3 tokens"):
        filled([[[1, 2], [3, 4]]], 3)
    assert best_fit([], 8) == []
    assert efficiency([], 0, 8) == 0.0


def test_bug_12_attention_within_a_packed_row_is_that_of_its_samples_alone() -> None:
    """One head of attention on random queries: packed and apart give the same sums, position by position."""
    draw = np.random.default_rng(1)
    lengths = [3, 5]
    found = filled([[[1] * 3, [2] * 5]], 10)
    q_BHTD, k_BHTD, v_BHTD = (mx.array(draw.normal(size=(1, 1, 10, 4)).astype(np.float32)) for _ in range(3))
    mask = mx.array(attention_of(found.segments_BT))
    together = mx.fast.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, scale=0.5, mask=mask)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        alone = mx.fast.scaled_dot_product_attention(
            q_BHTD[:, :, part], k_BHTD[:, :, part], v_BHTD[:, :, part], scale=0.5, mask="causal"
        )
        assert np.allclose(together[:, :, part], alone, atol=1e-6)
        start += length
    assert np.isfinite(np.asarray(together)).all()
