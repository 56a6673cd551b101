"""Times of a step: links, waiting, full channels, unequal stages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.pipeline.actions import Backward, Forward
from runtime.pipeline.schedules import build
from runtime.pipeline.simulator import Link, PieceTimes, Simulation, Span, Stuck, Workload, simulate

UNIT = PieceTimes(1, 1, 1)


def test_two_stages_and_one_micro_batch_follow_each_other() -> None:
    simulation = simulate(build("1f1b", 2, 1), Workload((UNIT, UNIT)))
    assert simulation.spans == (
        (Span(Forward(0), 0, 1), Span(Backward(0), 4, 6)),
        (Span(Forward(0), 1, 2), Span(Backward(0), 2, 4)),
    )
    assert (simulation.step_s, simulation.busy_s, simulation.bubble) == (6, (3, 3), 0.5)
    assert simulation.peaks == (1, 1)


def test_a_message_takes_the_link_for_its_bytes_and_arrives_after_the_latency() -> None:
    work = Workload((UNIT, UNIT), message_bytes=100, links=(Link(0.25, 200.0), Link(9.0, 1.0)))
    assert simulate(build("1f1b", 2, 1), work).step_s == 6 + 2 * (0.5 + 0.25)


def test_two_messages_share_the_link_one_after_the_other() -> None:
    quick = PieceTimes(0.0, 0.0, 0.0)
    work = Workload((quick, quick), message_bytes=10, links=(Link(0.0, 10.0), Link()))
    assert simulate(build("gpipe", 2, 2), work).spans[1][1].start_s == 2.0


def test_a_link_belongs_to_the_stages_on_both_of_its_ends() -> None:
    slow = Link(latency_s=1.0)
    for links, extra in (((slow, Link(), Link()), 2), ((Link(), slow, Link()), 2), ((Link(), Link(), slow), 0)):
        assert simulate(build("1f1b", 3, 1), Workload((UNIT,) * 3, links=links)).step_s == 9 + extra


def test_a_sender_waits_while_its_channel_is_full() -> None:
    pieces = (UNIT, PieceTimes(10, 1, 1))
    held = simulate(replace(build("gpipe", 2, 3), capacity=1), Workload(pieces))
    free = simulate(build("gpipe", 2, 3), Workload(pieces))
    assert [span.start_s for span in held.spans[0][:3]] == [0, 1, 2]
    assert [span.end_s for span in held.spans[1][:3]] == [11, 21, 31]
    assert free.step_s <= held.step_s


def test_the_slowest_stage_decides_the_step() -> None:
    pieces = (UNIT, PieceTimes(2, 2, 2), UNIT)
    m = 30
    simulation = simulate(build("1f1b", 3, m), Workload(pieces))
    filling_s, draining_s = 1 + 1, 2  # it waits for its first input and its first gradient; then stage 0 goes back
    assert simulation.step_s == filling_s + 6 * m + draining_s
    assert max(simulation.busy_s) == 6 * m


def test_a_whole_backward_pass_may_cost_less_than_its_halves() -> None:
    shared = PieceTimes(1, 1, 1, whole_backward_s=1.5)
    assert simulate(build("gpipe", 1, 2), Workload((shared,))).step_s == 5
    assert simulate(build("zb-h1", 1, 2), Workload((shared,))).step_s == 6


def test_a_workload_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="3 positions and 0 links for a schedule with 2 positions"):
        simulate(build("1f1b", 2, 1), Workload((UNIT,) * 3))
    with pytest.raises(ValueError, match="2 positions and 1 links"):
        simulate(build("1f1b", 2, 1), Workload((UNIT,) * 2, links=(Link(),)))


def test_a_schedule_that_cannot_end_says_where_everybody_waits() -> None:
    schedule = build("1f1b", 2, 1)
    with pytest.raises(Stuck, match="stage 0 at Receive"):
        simulate(replace(schedule, actions=(schedule.actions[0], ())), Workload((UNIT, UNIT)))


def test_a_step_of_nothing_has_no_bubble() -> None:
    assert Simulation(((), ()), (0, 0)).bubble == 0.0
