"""The fault plan: a pure function of the seed and of the place of a message."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from runtime.rpc.faults import HARMLESS, Fault, FaultPlan, FaultRates, Place, Verdict, decide

PLACE = Place(
    caller="worker-0", server="coordinator", path="/mlxd.Cluster/Session", call=0, direction="request", message=0
)
SOME_OF_ALL = FaultRates(
    lose_request=0.1,
    lose_response=0.1,
    break_in_flight=0.1,
    blackhole=0.05,
    duplicate=0.1,
    reorder=0.1,
    vanish=0.1,
    delay=0.3,
)
places = st.builds(
    Place,
    caller=st.sampled_from(["a", "b"]),
    server=st.sampled_from(["c", "d"]),
    path=st.just("/p"),
    call=st.integers(0, 5),
    direction=st.sampled_from(["request", "response"]),
    message=st.integers(0, 20),
)


@given(st.integers(), st.lists(places, unique=True, max_size=30), st.randoms())
def test_the_order_of_asking_changes_no_verdict(seed: int, asked: list[Place], random: object) -> None:
    shuffled = list(asked)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    one, other = FaultPlan(seed, SOME_OF_ALL), FaultPlan(seed, SOME_OF_ALL)
    first = {place: one.verdict(place) for place in asked}
    assert {place: other.verdict(place) for place in shuffled} == first
    assert sorted(map(repr, one.injected)) == sorted(map(repr, other.injected))


@given(st.integers(), places)
def test_a_request_never_suffers_what_only_a_response_can(seed: int, place: Place) -> None:
    fault = decide(seed, SOME_OF_ALL, place).fault
    wrong = {
        "request": {Fault.LOSE_RESPONSE},
        "response": {Fault.LOSE_REQUEST, Fault.BREAK_IN_FLIGHT},
    }
    assert fault not in wrong[place.direction]


def test_faults_come_about_as_often_as_ordered() -> None:
    rates = FaultRates(lose_request=0.2, delay=0.5, delay_seconds=0.4)
    verdicts = [decide(7, rates, replace(PLACE, message=number)) for number in range(2000)]
    lost = sum(verdict.fault is Fault.LOSE_REQUEST for verdict in verdicts)
    late = [verdict.delay_seconds for verdict in verdicts if verdict.delay_seconds]
    assert 300 < lost < 500
    assert 850 < len(late) < 1150
    assert 0.0 < min(late) < max(late) <= 0.4


def test_without_rates_nothing_happens_and_nothing_is_noted() -> None:
    plan = FaultPlan(1)
    assert {plan.verdict(replace(PLACE, message=number)) for number in range(100)} == {HARMLESS}
    assert plan.injected == []


def test_a_plan_may_be_narrowed_to_some_methods_and_callers() -> None:
    always = FaultRates(vanish=1.0)
    assert FaultPlan(1, always, paths={"/other"}).verdict(PLACE) == HARMLESS
    assert FaultPlan(1, always, callers={"worker-1"}).verdict(PLACE) == HARMLESS
    both = FaultPlan(1, always, paths={PLACE.path}, callers={PLACE.caller})
    assert both.verdict(PLACE) == Verdict(Fault.VANISH)
    assert both.injected == [(PLACE, Verdict(Fault.VANISH))]


def test_calls_are_numbered_per_caller_server_and_method() -> None:
    plan = FaultPlan(1)
    assert [plan.number_call("a", "s", "/p") for _ in range(3)] == [0, 1, 2]
    assert plan.number_call("b", "s", "/p") == plan.number_call("a", "t", "/p") == plan.number_call("a", "s", "/q") == 0


@pytest.mark.parametrize("wrong", [{"vanish": 1.1}, {"delay": -0.1}, {"delay_seconds": -1.0}])
def test_impossible_rates_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a probability is from 0 to 1, a delay at least 0"):
        FaultRates(**wrong)
    assert FaultRates(delay_seconds=30.0).delay_seconds == 30.0


def test_a_partition_cuts_between_groups_and_not_inside() -> None:
    plan = FaultPlan(1)
    plan.partition({"a", "b"}, {"c"}, {"d"})
    cut = {(one, other) for one in "abcd" for other in "abcd" if plan.is_cut(one, other)}
    inside = {(each, each) for each in "abcd"} | {("a", "b"), ("b", "a")}
    assert cut == {(one, other) for one in "abcd" for other in "abcd"} - inside


async def test_a_cut_link_passes_again_when_it_is_healed() -> None:
    plan = FaultPlan(1)
    plan.cut("a", "b")
    await plan.passable("b", "a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plan.passable, "a", "b")
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        plan.heal()
    assert not plan.is_cut("a", "b")
