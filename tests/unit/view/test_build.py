"""The picture that facts and gauges make."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from runtime.events import (
    ActorExited,
    AlarmAcknowledged,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointStarted,
    CheckpointWritten,
    DeviceMeasured,
    Envelope,
    Event,
    MicroBatchHalved,
    RolledBack,
    RunFinished,
    SupervisorGaveUp,
    Warned,
    WorkerHung,
    WorkerJoined,
    WorkerLost,
    fold_all,
)
from runtime.events.state import StepPoint
from runtime.ids import Rank, Step
from runtime.view.build import remaining, view_of
from runtime.view.cards import HostCard, RunCard
from runtime.view.codec import TOPICS, cards_of, decode, encode, view_from
from runtime.view.gauges import Beat, Gauges, ProcessUse
from tests.unit.events.strategies import envelopes
from tests.unit.view.told import NODE, ONE, RUN, WORKER, after, begun, commit, steps

WROTE = CheckpointWritten(Step(2), "checkpoints/step-2", 500, 0.25, "beef")


def point(seconds: float) -> StepPoint:
    return StepPoint(1, 0.0, 1.0, 1, 1.0, 0.1, seconds, 0.0, 0.0, 0.0, True)


def test_the_run_card_says_where_it_is_how_fast_and_for_how_long() -> None:
    run = view_of(after(begun() + steps(1, 10)), 2000.0).run
    assert (run.status, run.step, run.last_step, run.members, run.workers) == ("running", 10, 100, (0, 1), 2)
    assert (run.loss, run.step_seconds, run.tokens_per_second, run.compute_seconds) == (2.0, 1.0, 100.0, 0.5)
    assert (run.remaining_seconds, run.remaining_low_seconds, run.remaining_high_seconds) == (90.0, 90.0, 90.0)


def test_a_run_without_a_fact_is_idle() -> None:
    view = view_of(after([]), 0.0)
    assert view.run == RunCard()
    assert view.open_alarms == ()


def test_a_finished_run_expects_nothing_more() -> None:
    run = view_of(after(begun() + steps(1, 3) + [RunFinished("stopped", Step(3), 3.0, "asked")]), 2000.0).run
    assert (run.status, run.reason, run.remaining_seconds, run.remaining_high_seconds) == (
        "stopped",
        "asked",
        None,
        None,
    )


def test_the_interval_of_the_end_widens_with_the_spread_of_the_steps() -> None:
    assert remaining((point(1.0),), 10) == (None, None)
    low, high = remaining((point(1.0), point(3.0)), 8)
    reach = 1.96 * 2**0.5 * (8 + 64 / 2) ** 0.5
    assert low == max(0.0, 16 - reach)
    assert high == pytest.approx(16 + reach)


def test_the_tree_has_policies_parents_and_beats() -> None:
    view = view_of(after(begun()), 2000.0, Gauges(beats={1: Beat(1999.0, 4, "compute")}))
    assert [card.path for card in view.children_of("")] == [RUN]
    assert [card.path for card in view.children_of(NODE)] == ["run/node/worker-0", WORKER]
    assert (view.nodes[NODE].strategy, view.nodes[NODE].budget, view.nodes[NODE].period_seconds) == (
        "one_for_one",
        3,
        60,
    )
    worker = view.nodes[WORKER]
    assert (worker.pid, worker.beat_seconds, worker.step, worker.phase) == (101, 1999.0, 4, "compute")
    assert view.workers["1"].beat_phase == "compute"
    assert view.nodes["run/node/worker-0"].beat_seconds == 0.0


def test_a_dead_node_has_no_beat_and_says_how_it_ended() -> None:
    state = after([*begun(), ActorExited(WORKER, ONE, "killed", "SIGKILL", -9, "last words")])
    node = view_of(state, 2000.0, Gauges(beats={1: Beat(1999.0, 4, "compute")})).nodes[WORKER]
    assert (node.beat_seconds, node.reason, node.tail, node.restarts) == (0.0, "killed: SIGKILL", "last words", 1)


def test_devices_have_what_the_worker_said_and_what_its_process_uses() -> None:
    state = after([*begun(), DeviceMeasured(Rank(0), ONE, Step(3), 77, 88)])
    gauges = Gauges(
        processes={100: ProcessUse(5000, 0.987), 101: ProcessUse(6000, None)}, sampled_seconds=9.0, source="proc"
    )
    devices = view_of(state, 2000.0, gauges).devices
    first = devices["0"]
    assert (first.peak_bytes, first.planned_bytes, first.process_bytes, first.process_cpu) == (77, 88, 5000, 0.99)
    assert (devices["1"].process_bytes, devices["1"].process_cpu, devices["1"].source) == (6000, None, "proc")


def test_a_process_of_another_machine_is_not_measured_by_its_number_here() -> None:
    gauges = Gauges(processes={100: ProcessUse(5000, 0.9)}, host="another machine", source="proc")
    assert view_of(after(begun()), 2000.0, gauges).devices["0"].process_bytes is None


def test_checkpoints_have_a_state_each() -> None:
    told: list[Event] = [
        WROTE,
        CheckpointFailed(Step(3), "disk full"),
        CheckpointRejected("checkpoints/old", "hash"),
        CheckpointStarted(Step(4)),
    ]
    cards = view_of(after([*begun(), *told]), 2000.0).checkpoints
    assert [(card.step, card.state) for card in cards.values()] == [
        (2, "committed"), (3, "failed"), (0, "rejected"), (4, "writing"),
    ]  # fmt: skip
    assert cards["checkpoints/step-2"].said_seconds > 0


def test_a_checkpoint_that_failed_and_was_written_later_is_whole() -> None:
    state = after([*begun(), CheckpointFailed(Step(2), "disk full"), WROTE])
    assert [card.state for card in view_of(state, 2000.0).checkpoints.values()] == ["committed"]


@pytest.mark.parametrize(
    ("fact", "rule", "command"),
    [
        (WorkerLost(Rank(1), ONE, "killed"), "worker_lost", "mlx-distributed logs runs/q --worker 1"),
        (WorkerHung(Rank(1), ONE, "compute", 9.0, 5.0), "worker_hung", "mlx-distributed logs runs/q --worker 1"),
        (MicroBatchHalved(Rank(0), Step(2), 4, 2, "oom"), "out_of_memory", "mlx-distributed logs runs/q --worker 0"),
        (RolledBack(Step(3), Step(2), "spike"), "rolled_back", "mlx-distributed logs runs/q --level warning"),
        (SupervisorGaveUp(WORKER, "too often", "boom"), "gave_up", "mlx-distributed logs runs/q --level warning"),
        (CheckpointFailed(Step(3), "full"), "checkpoint_failed", "mlx-distributed checkpoints verify runs/q"),
        (Warned("coordinator", "paused: nobody left"), "paused", "mlx-distributed logs runs/q --level warning"),
        (RunFinished("failed", Step(3), 1.0, "no memory"), "run_failed", "go on"),
    ],
)  # fmt: skip
def test_an_alarm_of_a_fact_has_its_rule_a_fix_and_a_command(fact: Event, rule: str, command: str) -> None:
    state = after([*begun(), *steps(1, 3), fact])
    alarm = next(card for card in view_of(state, state.wall_seconds, folder="runs/q").open_alarms if card.rule == rule)
    assert (alarm.command, alarm.host) == (command, "mac0")
    assert alarm.fix


def test_a_pause_is_critical_until_the_next_commit() -> None:
    paused = after([*begun(), *steps(1, 3), Warned("coordinator", "paused: nobody left")])
    assert [card.level for card in view_of(paused, paused.wall_seconds).open_alarms] == ["critical"]
    assert view_of(after([commit(4)], paused), paused.wall_seconds).open_alarms == ()


def test_an_alarm_keeps_the_time_since_when_and_the_worst_comes_first() -> None:
    state = after([*begun(), *steps(1, 3), Warned("disk", "slow")])
    first = view_of(state, state.wall_seconds, Gauges(host="mac0", disk_free_bytes=1 << 20))
    later = view_of(state, state.wall_seconds + 9, Gauges(host="mac0", disk_free_bytes=1 << 20), before=first)
    assert [card.since_seconds for card in later.open_alarms] == [state.wall_seconds, state.wall_seconds]
    gone = view_of(state, state.wall_seconds + 9, Gauges(host="mac0", disk_free_bytes=9 << 30), before=later)
    back = view_of(state, state.wall_seconds + 20, Gauges(host="mac0", disk_free_bytes=1 << 20), before=gone)
    assert back.alarms["disk mac0"].since_seconds == state.wall_seconds + 20


def test_an_alarm_that_was_seen_is_not_open_until_it_comes_back() -> None:
    seen = after([*begun(), WorkerLost(Rank(1), ONE, "killed"), AlarmAcknowledged("worker 1", "kim")])
    view = view_of(seen, seen.wall_seconds)
    assert (view.open_alarms, view.alarms["worker 1"].acknowledged_by) == ((), "kim")
    again = after([WorkerJoined(Rank(1), ONE, Step(0)), WorkerLost(Rank(1), ONE, "killed")], seen)
    assert [card.key for card in view_of(again, again.wall_seconds).open_alarms] == ["worker 1"]


@given(envelopes())
@settings(max_examples=50, deadline=None)
def test_any_facts_make_a_picture_and_it_travels_as_rows(facts: list[Envelope]) -> None:
    state = fold_all(facts)
    cards = cards_of(view_of(state, state.wall_seconds + 100, Gauges(host="mac0", disk_free_bytes=5)))
    rows = {place: encode(card) for place, card in cards.items()}
    back = {place: decode(place[0], row) for place, row in rows.items()}
    assert {place: encode(card) for place, card in back.items()} == rows


def test_rows_make_the_picture_that_they_came_from() -> None:
    view = view_of(after([*begun(), *steps(1, 9), WROTE, Warned("disk", "slow \x1b[31m")]), 1010.0)
    rows = [(place, encode(card)) for place, card in cards_of(view).items()]
    assert view_from((place, decode(place[0], row)) for place, row in rows) == view


def test_what_this_version_cannot_read_is_passed_over() -> None:
    assert decode("weather", b"{}") is None
    assert decode("workers", b"{") is None
    assert decode("workers", b'{"rank": "one"}') is None
    assert decode("workers", b'{"rank": true}') is None
    assert decode("workers", b"{}") is None
    assert decode("hosts", b'{"name": "mac0", "later": 1, "load": 2}') == HostCard("mac0", load=2.0)
    assert set(TOPICS) == set(view_of(after([]), 0.0).__dataclass_fields__)
