"""Sums add up, whoever counted them."""

import math
import random

import pytest

from runtime.metrics.sums import merge, on_grid


def test_sums_are_added_number_by_number_and_nothing_counted_is_neutral() -> None:
    assert merge([(1.0, 2.0), (), (3.0, 4.0)]) == (4.0, 6.0)
    assert merge([]) == merge([(), ()]) == ()


def test_sums_of_two_metrics_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="shorter"):
        merge([(1.0, 2.0), (3.0,)])


def test_fractions_on_the_grid_give_the_same_bits_in_every_order() -> None:
    fractions = [on_grid(1 / n) for n in range(1, 2000)]
    mixed = random.Random(1).sample(fractions, len(fractions))
    assert sum(fractions) == sum(mixed) == math.fsum(fractions)
    assert abs(on_grid(1 / 3) - 1 / 3) < 1.2e-10
