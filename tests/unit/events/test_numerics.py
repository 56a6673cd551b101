"""Facts about numbers and devices: what they add up to, and the line that a person reads."""

from __future__ import annotations

from pathlib import Path

from console.cli.progress.summary import summary_of
from console.state.notable import line_of, tone_of
from runtime.events import (
    DataSuspected,
    DeviceMeasured,
    DeviceSuspected,
    Envelope,
    GradientClipped,
    Known,
    LossScaleChanged,
    MicroBatchHalved,
    ReplicaDrifted,
    RolledBack,
    RunStarted,
    RunState,
    StepCommitted,
    WorkerRetired,
    fold,
    fold_all,
)
from runtime.events.state import Mark
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, ShardId, Step

ONE = Rank(1)


def told(fact: Known) -> tuple[RunState, str]:
    envelope = Envelope(1, 1000.0, ActorPath("run"), fact)
    state = fold(RunState(), envelope)
    assert tone_of(envelope) == "bad"
    assert list(state.notable) == [envelope]
    return state, line_of(envelope, state)


def test_a_halved_micro_batch_is_an_alarm_that_names_the_key_to_lower() -> None:
    state, line = told(MicroBatchHalved(ONE, Step(7), 4, 2, "[malloc] Unable to allocate 9 bytes."))
    assert line == (
        "worker 1 ran out of memory at step 7 ([malloc] Unable to allocate 9 bytes.); 4 rows at once become 2, "
        "same samples"
    )
    (alarm,) = state.alarms.values()
    assert (alarm.place, alarm.severity, alarm.fix) == ("worker 1", "warning", "lower train.micro_batch_size")


def test_a_single_row_that_does_not_fit_says_so() -> None:
    _, line = told(MicroBatchHalved(ONE, Step(7), 1, 1, "no room"))
    assert line == "worker 1 has no memory for a single row at step 7 (no room)"


def test_what_devices_held_is_summed_up_and_is_no_line_of_its_own() -> None:
    first = DeviceMeasured(Rank(0), Incarnation(1), Step(9), 900_000, 1_000_000, shapes=3, compiled=6, settled_step=4)
    state = fold(RunState(), Envelope(1, 1000.0, ActorPath("run"), first))
    assert line_of(Envelope(1, 1000.0, ActorPath("run"), first), state) == ""
    assert not list(state.notable)
    assert "memory         planned 1.0 MB, peak 900.0 kB; 3 compiled shapes, none new after step 4" in (
        summary_of(state, Path("runs/x"))
    )
    second = DeviceMeasured(ONE, Incarnation(1), Step(9), 950_000, shapes=1, settled_step=1)
    state = fold(state, Envelope(state.seq + 1, 3.0, ActorPath("run"), second))
    assert "memory         peak 950.0 kB (worker 1); 3 compiled shapes" in summary_of(state, Path("runs/x"))
    again = RunStarted("quick", 2, Step(1), Step(9), 32, "c")
    assert not fold(state, Envelope(state.seq + 1, 4.0, ActorPath("run"), again)).devices


def test_a_worker_that_left_for_good_is_a_critical_alarm() -> None:
    state, line = told(WorkerRetired(ONE, Incarnation(1), "it ran out of memory"))
    assert line == "worker 1 left for good: it ran out of memory"
    (alarm,) = state.alarms.values()
    assert alarm.severity == "critical"


def test_a_drifted_replica_is_an_alarm_that_says_what_becomes_of_it() -> None:
    state, line = told(ReplicaDrifted(Step(7), ONE, Incarnation(1), "0123456789abcdef", "fedcba"))
    assert line == ("worker 1 drifted: its parameters after step 7 are not the others' (0123456789ab); it gets theirs")
    (alarm,) = state.alarms.values()
    assert alarm.fix == "it gets theirs; if this happens again, test the device's memory"


def test_two_replicas_that_differ_go_back_because_nobody_knows_who_is_right() -> None:
    state, line = told(ReplicaDrifted(Step(7), ONE, Incarnation(1), "01", ""))
    assert line.endswith("(01); nobody knows who is right")
    (alarm,) = state.alarms.values()
    assert "back to the last checkpoint" in alarm.fix


def test_a_clipped_gradient_is_marked_on_the_charts_and_is_no_alarm() -> None:
    envelope = Envelope(1, 1000.0, ActorPath("run"), GradientClipped(Step(7), 1234.0, 1.5, 99.0))
    state = fold(RunState(), envelope)
    assert (list(state.marks), state.alarms) == ([Mark(7, "clipped", "z 99.0")], {})
    line = line_of(envelope, state)
    assert line == "step 7: gradient norm clipped from 1234 to 1.5 (99.0 deviations above the mean)"


def test_a_loss_scale_is_kept_and_told_and_is_no_alarm() -> None:
    fact = LossScaleChanged(Step(7), 65536.0, 32768.0, "a gradient overflowed")
    envelope = Envelope(1, 1000.0, ActorPath("run"), fact)
    state = fold(RunState(), envelope)
    assert (state.training.loss_scale, state.alarms) == (32768.0, {})
    assert line_of(envelope, state) == ("step 7: a gradient overflowed; the loss scale is 32768 now, 65536 before")


def test_a_suspected_device_is_an_alarm_that_counts() -> None:
    state, line = told(DeviceSuspected(ONE, Step(7), (ShardId(4), ShardId(5)), 2, 3))
    assert line == (
        "worker 1 computed bad numbers at step 7, another worker good ones from the same samples "
        "(2 of 3 times; then it leaves)"
    )
    (alarm,) = state.alarms.values()
    assert alarm.cause == "its numbers of step 7 were bad, another worker's were not (2. time)"


def test_suspected_data_are_an_alarm_at_their_step() -> None:
    state, line = told(DataSuspected(Step(7), ONE, (ShardId(4),), "the gradient is not finite"))
    assert line.endswith(
        "the gradient is not finite, and another worker finds the same: it is the data, not the device"
    )
    (alarm,) = state.alarms.values()
    assert (alarm.place, alarm.fix) == ("step 7", "look at the samples of that step")


def test_a_rollback_that_passes_over_samples_says_which_and_what_becomes_of_the_rate() -> None:
    _, line = told(RolledBack(Step(9), Step(4), "it diverged", Cursor(144), Cursor(64), 80, 0.5, 200))
    assert line == (
        "rolled back from step 9 to 4: it diverged; samples 64 to 143 are passed over, and the learning rate is "
        "0.5 of the schedule's for 200 updates"
    )


def test_after_a_rollback_that_passes_over_samples_the_cursor_is_beyond_them() -> None:
    back = RolledBack(Step(1), Step(0), "it diverged", Cursor(144), Cursor(64), 80, 0.5, 200)
    committed = StepCommitted(Step(1), Generation(1), Cursor(0), 64, True, 2.0, 10, 1.0, 1e-3, 0.5)
    facts: list[Known] = [committed, back]
    state = fold_all(Envelope(n, 1000.0, ActorPath("run"), fact) for n, fact in enumerate(facts, 1))
    assert (state.training.step, state.training.cursor) == (0, 144)
