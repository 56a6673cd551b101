"""The pure core: every directed case, and 20,000 random schedules that must keep the invariants I1 to I8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.supervision.core import SupervisorCore
from tests.support.supervision_cases import CASES
from tests.support.supervision_fuzz import play
from tests.support.supervision_script import broken_promise

SCHEDULES = 20_000
BLOCKS = 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_case(case: Callable[[Any], None]) -> None:
    assert broken_promise(case, SupervisorCore) is None


@pytest.mark.parametrize("block", [0, *(pytest.param(each, marks=pytest.mark.long) for each in range(1, BLOCKS))])
def test_random_schedules_keep_every_invariant(block: int) -> None:
    size = SCHEDULES // BLOCKS
    events = 0
    for seed in range(block * size, (block + 1) * size):
        try:
            events += play(seed, SupervisorCore)
        except AssertionError as violation:
            pytest.fail(f"seed {seed}: {violation}")
    assert events > 10 * size


def test_a_schedule_is_replayed_by_its_seed() -> None:
    assert [play(seed, SupervisorCore) for seed in range(50)] == [play(seed, SupervisorCore) for seed in range(50)]
