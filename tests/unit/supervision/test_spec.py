"""A policy that cannot work is refused where it is written, with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.actors import Context
from runtime.supervision import Backoff, ChildSpec, Strategy, Supervisor, SupervisorSpec
from runtime.supervision.backoff import record_failure


async def idle(ctx: Context[Any]) -> None:
    """A body that no test of a spec runs."""


class Slow:
    """A body that says what it needs."""

    stop_budget_seconds = 12.0
    start_budget_seconds = 40.0

    async def __call__(self, ctx: Context[Any]) -> None: ...


A = ChildSpec("a", idle)


def test_a_policy_that_never_gives_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"never gives up: 10 restarts with backoff take up to 300 s.* above 300 s"):
        SupervisorSpec((A,), intensity=10, period_seconds=60, backoff=Backoff(first=30, jitter=0))


def test_jitter_counts_against_the_period() -> None:
    SupervisorSpec((A,), intensity=1, period_seconds=11, backoff=Backoff(first=10, jitter=0))
    with pytest.raises(ValueError, match="never gives up"):
        SupervisorSpec((A,), intensity=1, period_seconds=11, backoff=Backoff(first=10, jitter=0.2))


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two children are called 'a'"):
        SupervisorSpec((A, A))


def test_no_children_are_refused_unless_they_come_later() -> None:
    with pytest.raises(ValueError, match="without children ends at once"):
        SupervisorSpec()
    assert SupervisorSpec(stays_when_empty=True).children == ()


@pytest.mark.parametrize(("intensity", "period"), [(-1, 60.0), (3, 0.0)])
def test_a_limit_without_meaning_is_refused(intensity: int, period: float) -> None:
    with pytest.raises(ValueError, match="intensity must be 0 or more"):
        SupervisorSpec((A,), intensity=intensity, period_seconds=period)


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_child_id_is_one_part_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="without a slash"):
        ChildSpec(name, idle)


def test_a_grace_shorter_than_the_childs_own_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"child s: shutdown_seconds=5 is shorter than the 12 s"):
        ChildSpec("s", Slow(), shutdown_seconds=5)


def test_a_child_without_times_gets_what_it_says_it_needs() -> None:
    slow = ChildSpec("s", Slow())
    assert (slow.grace_seconds, slow.ready_within_seconds) == (13.0, 41.0)
    assert (A.grace_seconds, A.ready_within_seconds) == (5.0, 30.0)
    assert ChildSpec("s", Slow(), shutdown_seconds=20, start_seconds=50).grace_seconds == 20


def test_a_supervisor_needs_the_sum_of_what_its_children_need() -> None:
    spec = SupervisorSpec((A, ChildSpec("s", Slow())))
    assert (spec.stop_budget_seconds, spec.start_budget_seconds) == (18.0, 71.0)
    nested = ChildSpec("node", Supervisor(spec))
    assert (nested.grace_seconds, nested.ready_within_seconds) == (19.0, 72.0)


def test_children_that_start_together_need_the_time_of_the_slowest() -> None:
    assert SupervisorSpec((A, ChildSpec("s", Slow())), start="together").start_budget_seconds == 41.0
    assert SupervisorSpec((), start="together", stays_when_empty=True).start_budget_seconds == 0.0


def test_a_strategy_that_needs_an_order_cannot_start_together() -> None:
    with pytest.raises(ValueError, match="rest_for_one ties children by their order"):
        SupervisorSpec((A,), Strategy.REST_FOR_ONE, start="together")


@pytest.mark.parametrize("broken", [{"start_seconds": 0.0}, {"mailbox": 0}])
def test_a_child_that_could_not_live_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="child a: "):
        ChildSpec("a", idle, **broken)


@pytest.mark.parametrize("broken", [{"first": -1.0}, {"first": 9.0, "cap": 8.0}, {"jitter": -0.1}, {"factor": 0.5}])
def test_a_backoff_that_makes_no_sense_is_refused(broken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**broken)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_lies_between_the_first_and_the_cap_with_jitter(failures: int, u: float) -> None:
    backoff = Backoff(first=0.5, factor=2, cap=30, jitter=0.2)
    assert 0.5 <= backoff.delay(failures, u) <= 36
    assert backoff.delay(failures, u) <= backoff.delay(failures + 1, u)


def test_a_factor_of_one_keeps_the_delay() -> None:
    assert Backoff(first=2, factor=1, jitter=0).delay(10_000, 0) == 2


def test_only_failures_within_the_period_count() -> None:
    assert record_failure((0.0, 5.0, 9.0), 10.0, intensity=2, period_seconds=5.0) == ((9.0, 10.0), True)
    assert record_failure((6.0, 9.0), 10.0, intensity=2, period_seconds=5.0) == ((6.0, 9.0, 10.0), False)
