"""The bar of DESIGN 10 for the protocol's share of a step. By name only: `pytest -m opt_in tests/benchmarks`."""

from __future__ import annotations

import pytest

from tests.benchmarks.protocol_cost import measure

AT_MOST_MS, AT_MOST_FRACTION = 2.0, 0.01


@pytest.mark.opt_in
@pytest.mark.timeout(3600)
def test_the_protocol_costs_two_milliseconds_or_one_percent_of_a_step() -> None:
    cost = measure()
    print(cost)
    assert cost.median_ms <= AT_MOST_MS or cost.fraction <= AT_MOST_FRACTION, str(cost)
