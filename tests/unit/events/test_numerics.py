"""Facts about numbers and devices: what they add up to, and the line that a person reads."""

from __future__ import annotations

from console.cli.progress.notable import line_of, tone_of
from runtime.events import Envelope, Known, MicroBatchHalved, ReplicaDrifted, RunState, WorkerRetired, fold
from runtime.ids import ActorPath, Incarnation, Rank, Step

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
