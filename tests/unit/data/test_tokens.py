"""Samples in flat arrays."""

from __future__ import annotations

from runtime.data.encoded import Encoded
from runtime.data.tokens import TokenDataset

SAMPLES = [Encoded((1, 2, 3, 4), (0, 1, 1, 0)), Encoded((5, 6), (0, 1)), Encoded((7, 8), (0, 0))]


def test_samples_come_back_without_the_tail_that_nothing_learns() -> None:
    dataset = TokenDataset.of(SAMPLES)
    assert [dataset.sample(number)[0].tolist() for number in range(3)] == [[1, 2, 3], [5, 6], []]
    assert [dataset.sample(number)[1].tolist() for number in range(3)] == [[0, 1, 1], [0, 1], []]
    assert dataset.lengths.tolist() == [3, 2, 0]
    assert (len(dataset), dataset.trained_tokens) == (3, 3)


def test_the_fingerprint_sees_every_token_every_mask_and_every_border() -> None:
    base = TokenDataset.of(SAMPLES).fingerprint
    assert TokenDataset.of(SAMPLES).fingerprint == base
    for other in (
        [Encoded((1, 2, 9, 4), (0, 1, 1, 0)), *SAMPLES[1:]],
        [Encoded((1, 2, 3, 4), (0, 0, 1, 0)), *SAMPLES[1:]],
        [Encoded((1, 2, 3, 5, 6), (0, 1, 1, 0, 1)), SAMPLES[2], SAMPLES[2]],
    ):
        assert TokenDataset.of(other).fingerprint != base


def test_no_samples_are_a_data_set_too() -> None:
    assert len(TokenDataset.of([])) == 0
