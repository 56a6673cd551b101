"""float16's loss scale: its path from the committed steps alone, and that looking for it is nobody's fault."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from runtime import events as facts
from runtime.cluster import explosion
from runtime.cluster.loss_scale import GROWTH_STEPS, INITIAL, LossScale
from runtime.cluster.messages import Order, RestorePoint
from runtime.cluster.signals import Position
from runtime.ids import Cursor, Step
from tests.unit.cluster.world import PLAN, World, vote_on

HALF = LossScale()
NAN = math.nan


def path(rule: LossScale, script: str) -> list[float]:
    """The factor after each step: `.` finite, `!` overflowed, `0` finite but without tokens, so not applied."""
    counters: dict[str, float] = {}
    found = []
    for sign in script:
        counters = rule.follow(counters, finite=sign != "!", applied=sign == ".")
        found.append(rule.after(counters))
    return found


@pytest.mark.parametrize(
    ("rule", "script", "expected"),
    [
        (LossScale(256.0), "!!!", [128, 64, 32]),
        (LossScale(8.0), "!!!!!", [4, 2, 1, 1, 1]),  # the floor
        (LossScale(8.0, growth_steps=2), "......", [8, 16, 16, 32, 32, 64]),
        (LossScale(8.0, growth_steps=2), ".!..!.", [8, 4, 4, 8, 4, 4]),  # an overflow begins the count anew
        (LossScale(8.0, growth_steps=2), "!.!.!..", [4, 4, 2, 2, 1, 1, 2]),
        (LossScale(1.0, growth_steps=1), "!..!", [1, 2, 4, 2]),
        (LossScale(8.0, growth_steps=2), ".0.0!0..", [8, 8, 16, 16, 8, 8, 8, 16]),
        (LossScale(2.0**127, growth_steps=1), "..!", [2.0**127, 2.0**127, 2.0**126]),
        (LossScale(1000.0, dynamic=False), ".!!.", [1000] * 4),
    ],
)
def test_the_path_of_the_scale_is_that_of_the_table(rule: LossScale, script: str, expected: list[float]) -> None:
    assert path(rule, script) == expected


def test_it_starts_at_two_to_the_sixteenth_and_doubles_after_two_thousand_steps_in_a_row() -> None:
    assert HALF.after({}) == INITIAL == 65536
    found = path(HALF, "!" + "." * (2 * GROWTH_STEPS))
    assert found[0] == 32768
    assert found[GROWTH_STEPS - 1 : GROWTH_STEPS + 1] == [32768, 65536]
    assert found[2 * GROWTH_STEPS - 1 :] == [65536, 131072]
    assert path(HALF, "." * (GROWTH_STEPS - 1) + "!" + "." * (GROWTH_STEPS - 1))[-1] == 32768


def test_only_float16_is_scaled_and_a_number_stays() -> None:
    assert LossScale.configured("bfloat16", "dynamic") is None
    assert LossScale.configured("auto", "dynamic") is None
    assert LossScale.configured("float16", "dynamic") == HALF
    assert LossScale.configured("float16", 512.0) == LossScale(512.0, dynamic=False)


def test_an_overflow_is_explained_while_a_smaller_scale_is_left_and_the_loss_is_a_number() -> None:
    assert HALF.explains({}, 2.0)
    assert not HALF.explains({}, NAN)
    assert not HALF.explains({}, math.inf)
    assert not HALF.explains({"scale.value": 1.0}, 2.0)
    assert not LossScale(512.0, dynamic=False).explains({}, 2.0)


# ---- in the core


SCALED = replace(PLAN, steps=400, loss_scale=HALF)


def overflow(world: World) -> None:
    """The sum is not finite, and only worker 0's part is to blame."""
    order = world.order
    for rank in order.contributors:
        own = NAN if rank == 0 else 4.0
        world.say(int(rank), vote_on(order, int(rank), finite=False, grad_square_sum=NAN, own_square_sum=own))


def test_an_overflow_on_one_worker_skips_everywhere_halves_the_scale_and_suspects_nobody() -> None:
    world = World(SCALED).start()
    for _ in range(3):
        overflow(world)
    world.vote()
    committed = world.facts(facts.StepCommitted)
    assert [fact.applied for fact in committed] == [False, False, False, True]
    changed = world.facts(facts.LossScaleChanged)
    assert [(fact.step, fact.before, fact.after) for fact in changed] == [
        (1, 65536, 32768), (2, 32768, 16384), (3, 16384, 8192)
    ]  # fmt: skip
    assert {fact.reason for fact in changed} == {"a gradient overflowed"}
    assert (
        world.facts(facts.StepAborted) == world.facts(facts.DeviceSuspected) == world.facts(facts.DataSuspected) == []
    )
    for rank in (0, 1):
        order = world.last(rank, Order)
        assert order.verdict is not None
        assert (order.verdict.update, order.counters["scale.value"]) == (1, 8192)


def test_sixteen_overflows_in_a_row_are_a_search_and_the_next_ones_are_trouble() -> None:
    world = World(SCALED).start()
    for _ in range(16):
        overflow(world)
    assert HALF.after(world.core.at.counters) == 1
    assert explosion.is_calm(world.core.at.counters)
    assert not world.facts(facts.RolledBack)
    overflow(world)
    assert world.facts(facts.StepAborted)[0].reason.startswith("the gradient is not finite; what worker 0 computed")


def test_an_excused_skip_neither_adds_to_a_streak_nor_ends_one() -> None:
    counters: dict[str, float] = {}
    found = []
    for excused in (False, True, False):
        counters = explosion.after_step(
            counters, step=1, applied=False, loss=1.0, norm=NAN, zscore=0.0, excused=excused
        )
        found.append(counters["ladder.skips_in_a_row"])
    assert found == [1, 1, 2]


def test_a_search_does_not_end_a_run_that_stops_at_a_gradient_that_is_not_finite() -> None:
    world = World(replace(SCALED, stop_on_nonfinite=True)).start()
    overflow(world)
    assert world.ended is None
    fixed = World(replace(SCALED, stop_on_nonfinite=True, loss_scale=LossScale(512.0, dynamic=False), workers=1))
    fixed.start(0).vote(finite=False, grad_square_sum=NAN)
    assert fixed.ended is not None
    assert fixed.ended.outcome == "failed"


def test_a_loss_that_is_no_number_is_asked_about_as_ever() -> None:
    world = World(SCALED).start()
    order = world.order
    for rank in order.contributors:
        vote = vote_on(order, int(rank), finite=False, grad_square_sum=NAN, own_square_sum=NAN)
        world.say(int(rank), replace(vote, tallies=tuple(replace(tally, loss_sum=NAN) for tally in vote.tallies)))
    assert "computed once more by others" in world.facts(facts.StepAborted)[0].reason


def test_growth_is_told_and_survives_a_new_coordinator() -> None:
    plan = replace(SCALED, loss_scale=LossScale(8.0, growth_steps=2))
    world = World(plan).start()
    world.vote()
    at = world.core.at
    successor = World(plan, after=Position(at.step, at.cursor, dict(at.counters)), generation=1)
    for rank in (0, 1):
        successor.join(rank, holds=1, cursor=at.cursor, counters=dict(at.counters))
    successor.vote()
    (grown,) = successor.facts(facts.LossScaleChanged)
    assert (grown.step, grown.before, grown.after, grown.reason) == (2, 8, 16, "2 steps without an overflow")


def test_going_back_goes_back_to_the_scale_of_that_state_and_says_so() -> None:
    point = RestorePoint(Step(0), Cursor(0), "", {"scale.value": 4.0})
    world = World(replace(SCALED, workers=1, max_skipped_in_a_row=1), point).start(0)
    for _ in range(3):  # 4, 2, and at 1 it is no search any more
        world.vote(finite=False, grad_square_sum=NAN)
    world.sleep(0.01)
    assert len(world.facts(facts.RolledBack)) == 1
    changed = world.facts(facts.LossScaleChanged)
    assert [(fact.before, fact.after) for fact in changed] == [(4, 2), (2, 1), (1, 4)]
    assert changed[-1].reason == "the run went back to step 0"
