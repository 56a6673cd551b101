"""Every alarm that no single fact raises: when it comes, whom it names, and that it says what to do."""

from __future__ import annotations

import pytest

from runtime.events import (
    ActorExited,
    CheckpointWritten,
    DeviceMeasured,
    Envelope,
    Event,
    GenerationStarted,
    PauseRequested,
    RestartPlanned,
    ResumeRequested,
    RunFinished,
    RunPaused,
    ShardsMoved,
    WorkerLost,
    WorkerRemoved,
    fold,
)
from runtime.ids import ActorPath, Generation, Rank, Step
from runtime.view.cards import AlarmCard
from runtime.view.gauges import Beat, Gauges
from tests.unit.view.told import BEGAN, NODE, ONE, WORKER, after, alarms, begun, commit, steps

QUIET = 40.0


def only(found: list[AlarmCard]) -> AlarmCard:
    (alarm,) = found
    assert alarm.cause
    assert alarm.fix
    assert alarm.command.startswith("mlx-distributed ")
    assert alarm.host == "mac0"
    return alarm


def test_a_run_that_is_well_has_no_alarm() -> None:
    assert alarms(after(begun() + steps(1, 60))) == []


def test_an_empty_journal_has_no_alarm() -> None:
    assert alarms(after([]), BEGAN) == []


def test_no_commit_for_long_is_a_stall_since_the_limit_and_names_what_the_workers_do() -> None:
    state = after(begun() + steps(1, 3))
    assert alarms(state, state.wall_seconds + 29) == []
    now = state.wall_seconds + QUIET
    alarm = only(alarms(state, now, Gauges(beats={0: Beat(now, 4, "exchange"), 1: Beat(now, 4, "compute")})))
    assert (alarm.rule, alarm.level, alarm.since_seconds) == ("stalled", "critical", state.wall_seconds + 30)
    assert "worker 1 in compute" in alarm.cause


def test_a_pause_is_no_stall_and_after_it_the_clock_begins_anew() -> None:
    state = after([*begun(), *steps(1, 3), PauseRequested("kim"), RunPaused(Step(3), "kim")])
    assert alarms(state, state.wall_seconds + 10 * QUIET) == []
    later = fold(state, Envelope(state.seq + 1, state.wall_seconds + 5000, ActorPath("run"), ResumeRequested("kim")))
    assert alarms(later, later.wall_seconds + 29) == []
    assert only(alarms(later, later.wall_seconds + QUIET)).since_seconds == later.wall_seconds + 30


def test_an_evaluation_is_no_stall() -> None:
    state = after(begun() + steps(1, 3))
    gauges = Gauges(beats={0: Beat(state.wall_seconds, 3, "evaluate")})
    assert alarms(state, state.wall_seconds + QUIET, gauges) == []


def test_a_slow_model_may_take_ten_steps_time_before_it_is_a_stall() -> None:
    state = after(begun() + steps(1, 3, seconds=20.0))
    assert alarms(state, state.wall_seconds + 199) == []
    assert only(alarms(state, state.wall_seconds + 201)).rule == "stalled"


def test_a_missing_worker_alarms_once_nobody_is_on_the_way() -> None:
    rest = GenerationStarted(Generation(2), Step(4), ((Rank(0), ONE),))
    lost = after([WorkerLost(Rank(1), ONE, "killed"), rest, ActorExited(WORKER, ONE, "killed")], after(begun()))
    waiting = after([RestartPlanned(WORKER, 1, 60.0, 2), *steps(1, 40)], lost)
    assert alarms(waiting) == []
    assert alarms(after(steps(1, 3), lost)) == [], "it may still be on the way"
    alarm = only(alarms(after(steps(1, 40), lost)))
    assert (alarm.rule, alarm.command) == ("fewer_workers", "mlx-distributed workers runs/quick add")
    assert "1 of 2 workers train" in alarm.cause


def test_a_worker_that_was_removed_is_not_missed() -> None:
    removed = after([WorkerRemoved(Rank(1), "kim"), WorkerLost(Rank(1), ONE, "left")], after(begun()))
    assert alarms(after(steps(1, 40), removed)) == []


def test_a_worker_far_below_its_peers_is_a_straggler() -> None:
    moved = ShardsMoved(Step(4), (), ((Rank(0), 5), (Rank(1), 3)), ((Rank(0), 100.0), (Rank(1), 60.0)))
    alarm = only(alarms(after(begun() + steps(1, 3) + [moved])))
    assert (alarm.key, alarm.subject) == ("straggler 1", "worker 1")
    assert "60% of its peers" in alarm.cause
    near = ShardsMoved(Step(4), (), ((Rank(0), 4), (Rank(1), 4)), ((Rank(0), 100.0), (Rank(1), 80.0)))
    assert alarms(after(begun() + steps(1, 3) + [near])) == []


def test_steps_that_take_longer_than_they_did_name_the_phase_that_grew() -> None:
    slow: list[Event] = [commit(step, seconds=3.0, compute_seconds=0.5, exchange_seconds=2.4) for step in range(41, 49)]
    alarm = only(alarms(after(begun() + steps(1, 40) + slow)))
    assert alarm.rule == "slow_down"
    assert "most of it is exchange (+2.4 s)" in alarm.cause


def test_a_budget_that_burns_warns_and_is_critical_when_nothing_is_left() -> None:
    state = after(begun() + steps(1, 3))
    assert alarms(after([RestartPlanned(WORKER, 1, 0.1, 2)], state)) == []
    twice = after([RestartPlanned(WORKER, 1, 0.1, 2), RestartPlanned(WORKER, 2, 0.1, 1)], state)
    alarm = only(alarms(twice))
    assert (alarm.key, alarm.level) == (f"budget {NODE}", "warning")
    thrice = after([RestartPlanned(WORKER, 3, 0.1, 0)], twice)
    assert only(alarms(thrice)).level == "critical"
    assert [card.rule for card in alarms(thrice, thrice.wall_seconds + 100)] == ["stalled"], "forgiven by then"


def test_skipped_steps_alarm_from_the_third_one_on() -> None:
    few = after(begun() + steps(1, 8) + steps(9, 10, applied=False) + steps(11, 12))
    assert alarms(few) == []
    alarm = only(alarms(after(begun() + steps(1, 8) + steps(9, 11, applied=False))))
    assert (alarm.rule, alarm.subject, alarm.level) == ("skipping", "step 11", "critical")


def test_a_loss_that_explodes_names_the_step_and_both_losses() -> None:
    alarm = only(alarms(after(begun() + steps(1, 32, loss=2.0) + steps(33, 40, loss=6.5))))
    assert (alarm.rule, alarm.subject) == ("loss_explodes", "step 33")
    assert "6.5, 2 before" in alarm.cause


@pytest.mark.parametrize(("free", "level"), [(3_000_000_000, "warning"), (1_000_000_000, "critical")])
def test_a_disk_without_room_for_two_checkpoints_alarms(free: int, level: str) -> None:
    state = after(begun() + steps(1, 3) + [CheckpointWritten(Step(3), "checkpoints/a", 2_000_000_000, 1.0)])
    assert alarms(state, gauges=Gauges(host="mac0", disk_free_bytes=5_000_000_000)) == []
    alarm = only(alarms(state, gauges=Gauges(host="mac0", disk_free_bytes=free)))
    assert (alarm.rule, alarm.level) == ("disk", level)


def test_more_memory_than_the_plan_said_is_worth_knowing() -> None:
    within, above = (DeviceMeasured(Rank(0), ONE, Step(3), peak, 100) for peak in (109, 120))
    assert alarms(after(begun() + steps(1, 3) + [within])) == []
    assert only(alarms(after(begun() + steps(1, 3) + [above]))).level == "info"


def test_samples_in_quarantine_alarm_above_a_hundredth() -> None:
    state = after(begun() + steps(1, 3))
    assert alarms(state, gauges=Gauges(host="mac0", quarantined=0)) == []
    assert only(alarms(state, gauges=Gauges(host="mac0", quarantined=1))).rule == "quarantine"


def test_a_run_that_is_over_has_no_alarm_of_a_living_one() -> None:
    failures = [RestartPlanned(WORKER, n, 0.1, 3 - n) for n in (1, 2, 3)]
    state = after(
        begun() + steps(1, 8) + steps(9, 30, applied=False) + failures + [RunFinished("stopped", Step(30), 9)]
    )
    assert alarms(state, state.wall_seconds + 1000, Gauges(host="mac0", disk_free_bytes=1)) == []
