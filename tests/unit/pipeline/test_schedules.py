"""The four orders: their pictures, their bubbles against the formulas, their memory, and no fault in any of them."""

from __future__ import annotations

import pytest

from runtime.pipeline import schedules
from runtime.pipeline.actions import (
    Backward,
    BackwardInput,
    BackwardWeight,
    Forward,
    Schedule,
    ScheduleName,
    peak_in_flight,
)
from runtime.pipeline.schedules import build, in_flight_limit, why_not
from runtime.pipeline.simulator import PieceTimes, Simulation, Workload, simulate
from runtime.pipeline.validator import faults

CASES: list[tuple[ScheduleName, int]] = [
    ("gpipe", 1),
    ("1f1b", 1),
    ("zb-h1", 1),
    ("interleaved", 2),
    ("interleaved", 3),
]
SIZES = [(p, m) for p in (1, 2, 3, 4) for m in sorted({1, p, p + 1, 2 * p, 2 * p + 1, 4 * p})] + [(8, 8), (8, 19)]


def in_units(schedule: Schedule) -> Simulation:
    return simulate(schedule, Workload((PieceTimes(1, 1, 1),) * schedule.positions))


def drawn(schedule: Schedule) -> str:
    letters = {Forward: "0", Backward: "a", BackwardInput: "a", BackwardWeight: "A"}
    simulation = in_units(schedule)
    rows = []
    for stage in simulation.spans:
        row = ["."] * round(simulation.step_s)
        for span in stage:
            letter = chr(ord(letters[type(span.action)]) + span.action.micro_batch)
            row[round(span.start_s) : round(span.end_s)] = letter * round(span.end_s - span.start_s)
        rows.append("    " + "".join(row))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(("name", "chunks"), CASES[:4])
def test_the_pictures_in_the_documentation_are_what_the_simulator_plays(name: ScheduleName, chunks: int) -> None:
    assert drawn(build(name, 4, 8, chunks)) in (schedules.__doc__ or "")


@pytest.mark.parametrize(("name", "chunks"), CASES)
def test_no_schedule_of_any_size_has_a_fault(name: ScheduleName, chunks: int) -> None:
    sizes = [size for size in SIZES if not why_not(name, *size, chunks)]
    assert len(sizes) > 15
    assert {size: found for size in sizes if (found := faults(build(name, *size, chunks)))} == {}


@pytest.mark.parametrize("name", ["gpipe", "1f1b"])
def test_gpipe_and_1f1b_are_idle_for_p_less_1_of_m_plus_p_less_1(name: ScheduleName) -> None:
    for p, m in SIZES:
        assert in_units(build(name, p, m)).bubble == pytest.approx((p - 1) / (m + p - 1), abs=1e-9)


def test_zb_h1_is_idle_for_a_third_of_it() -> None:
    for p, m in SIZES:
        if m >= p:
            assert in_units(build("zb-h1", p, m)).bubble == pytest.approx((p - 1) / (3 * m + p - 1), abs=1e-9)


@pytest.mark.parametrize("chunks", [2, 3])
def test_interleaving_divides_the_idle_time_by_the_chunks(chunks: int) -> None:
    for p, m in SIZES:
        if p > 1 and m % p == 0:
            bubble = in_units(build("interleaved", p, m, chunks)).bubble
            assert bubble == pytest.approx((p - 1) / (chunks * m + p - 1), abs=1e-9)


def test_interleaving_stays_within_a_twentieth_of_the_ideal_where_micro_batches_do_not_fill_the_groups() -> None:
    for p in (2, 3, 4):
        for m in range(p, 4 * p):
            ideal_s = 3 * (2 * m + p - 1)
            assert in_units(build("interleaved", p, m, 2)).step_s <= 1.05 * ideal_s


def test_each_stage_keeps_exactly_the_activations_of_its_formula() -> None:
    for name, chunks in CASES:
        schedule = build(name, 4, 16, chunks)
        kept = [peak_in_flight(actions) for actions in schedule.actions]
        assert kept == [in_flight_limit(name, stage, 4, 16, chunks) for stage in range(4)]
    assert [in_flight_limit("1f1b", stage, 4, 16) for stage in range(4)] == [4, 3, 2, 1]
    assert [in_flight_limit("gpipe", stage, 4, 16) for stage in range(4)] == [16] * 4
    assert [in_flight_limit("zb-h1", stage, 4, 16) for stage in range(4)] == [4] * 4


def test_one_stage_alone_sends_nothing() -> None:
    assert all(schedule.actions[0] == schedule.compute(0) for schedule in (build("1f1b", 1, 3), build("gpipe", 1, 3)))


@pytest.mark.parametrize(
    ("name", "stages", "micro_batches", "chunks", "reason"),
    [
        ("gpipe", 0, 4, 1, "at least 1"),
        ("1f1b", 2, 0, 1, "at least 1"),
        ("zb-h1", 2, 4, 2, "one chunk per stage, not 2"),
        ("interleaved", 1, 4, 2, "at least 2 stages"),
        ("interleaved", 2, 4, 1, "at least 2 stages and 2 chunks"),
    ],
)
def test_a_size_that_a_schedule_cannot_have_is_refused(
    name: ScheduleName, stages: int, micro_batches: int, chunks: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        build(name, stages, micro_batches, chunks)
