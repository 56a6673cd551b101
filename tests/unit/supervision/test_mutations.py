"""The tests of the core can fail: each of these small mistakes in core.py is caught by a case or by a schedule."""

from __future__ import annotations

import pytest

from runtime.supervision.core import SupervisorCore
from tests.support.mutations import MUTATIONS, Mutation, mutant
from tests.support.supervision_cases import CASES
from tests.support.supervision_fuzz import play

SCHEDULES = 1500


def verdict(core_class: type[SupervisorCore]) -> str | None:
    """What catches this core; None when nothing does."""
    for case in CASES:
        try:
            case(core_class)
        except Exception:  # a broken core may fail in any way
            return case.__name__
    for seed in range(SCHEDULES):
        try:
            play(seed, core_class)
        except Exception:  # as above
            return f"seed {seed}"
    return None


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.mistake)
def test_the_mistake_is_caught(mutation: Mutation) -> None:
    assert verdict(mutant(mutation)) is not None, f"nothing notices when {mutation.mistake}"


@pytest.mark.long
def test_the_core_as_it_is_passes_the_same_checks() -> None:
    assert verdict(SupervisorCore) is None


def test_every_mistake_is_another_one() -> None:
    assert len({(mutation.old, mutation.new) for mutation in MUTATIONS}) == len(MUTATIONS) >= 15


def test_a_mutation_that_no_longer_applies_is_reported() -> None:
    with pytest.raises(AssertionError, match="0 places, not one"):
        mutant(Mutation("an old one", "this line is not in core.py", ""))
