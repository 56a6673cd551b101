"""The bar of DESIGN 10 for one worker against a bare loop. By name only: `pytest -m opt_in tests/benchmarks`."""

from __future__ import annotations

import pytest

from tests.benchmarks.bare_loop import compare

AT_LEAST = 0.97


@pytest.mark.opt_in
@pytest.mark.timeout(3600)
def test_one_worker_trains_nearly_as_fast_as_a_bare_compiled_loop() -> None:
    found = compare()
    print(found)
    assert found.ratio >= AT_LEAST, str(found)
