"""The bar of DESIGN 10 for workers of one host, measured in one run. By name only: `pytest -m opt_in`."""

from __future__ import annotations

import pytest

from tests.benchmarks.allreduce import RING, SHARED_MEMORY, measure, table

AT_LEAST = 1.3


@pytest.mark.opt_in
def test_two_workers_sum_64_mib_faster_than_the_ring_of_mlx() -> None:
    figures = measure(2)
    print(table(2, figures))
    assert (RING, 64) in figures, "mlx's ring hung in every round, so there is nothing to compare with"
    assert figures[RING, 64].median_ms >= AT_LEAST * figures[SHARED_MEMORY, 64].median_ms
