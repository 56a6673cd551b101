from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events import (
    ActorExited,
    ActorReady,
    ActorStarting,
    CheckpointFailed,
    CheckpointRejected,
    CheckpointRemoved,
    CheckpointStarted,
    CheckpointWritten,
    Envelope,
    EvaluationFinished,
    Event,
    GenerationStarted,
    RestartPlanned,
    RolledBack,
    RunFinished,
    RunStarted,
    RunState,
    SampleGenerated,
    ShardsMoved,
    StateHealed,
    StepAborted,
    StepCommitted,
    StopRequested,
    SupervisorGaveUp,
    UnknownEvent,
    Warned,
    WorkerHung,
    WorkerJoined,
    WorkerLost,
    envelope_from_json,
    envelope_to_json,
    fold,
    fold_all,
)
from runtime.events.alarms import _MOST_ALARMS
from runtime.events.pace import remaining_seconds, smoothed_loss, step_seconds, tokens_per_second
from runtime.events.replay import replay
from runtime.ids import ActorPath, Cursor, Generation, Incarnation, Rank, Step
from tests.unit.events.strategies import envelopes

FIRST_VERSION = Path(__file__).parents[2] / "fixtures" / "events" / "journal-first-version.jsonl"
WORKER = ActorPath("root/node/worker-1")


def after(*facts: Event, state: RunState | None = None) -> RunState:
    """The state after these facts, one second apart."""
    first = (state.seq if state else 0) + 1
    return fold_all((Envelope(n, 1000.0 + n, ActorPath("root"), fact) for n, fact in enumerate(facts, first)), state)


def started(**changes: Any) -> RunStarted:
    return RunStarted(
        **{
            "name": "quick",
            "workers": 2,
            "first_step": Step(1),
            "last_step": Step(100),
            "samples_per_step": 32,
            "config_hash": "c",
            **changes,
        }
    )


def commit(step: int, loss: float = 2.0, **changes: Any) -> StepCommitted:
    return StepCommitted(
        **{
            "step": Step(step),
            "generation": Generation(1),
            "cursor": Cursor((step - 1) * 32),
            "samples": 32,
            "applied": True,
            "loss": loss,
            "tokens": 100,
            "grad_norm": 1.0,
            "learning_rate": 0.01,
            "seconds": 0.5,
            **changes,
        }
    )


def joined(rank: int, incarnation: int = 1, state_step: int = 0) -> WorkerJoined:
    return WorkerJoined(Rank(rank), Incarnation(incarnation), Step(state_step), 40 + rank, "mac0", "gpu")


def generation(number: int, *members: tuple[int, int]) -> GenerationStarted:
    return GenerationStarted(Generation(number), Step(1), tuple((Rank(r), Incarnation(i)) for r, i in members))


@settings(deadline=None, max_examples=60)
@given(envelopes(), st.integers(0, 60))
def test_a_prefix_and_then_the_rest_is_the_whole(facts: list[Envelope], cut: int) -> None:
    prefix = fold_all(facts[:cut])
    before = repr(prefix)
    assert repr(fold_all(facts[cut:], prefix)) == repr(fold_all(facts))
    assert repr(prefix) == before  # and folding on changed nothing in the older state


@settings(deadline=None, max_examples=60)
@given(envelopes())
def test_the_state_from_the_journal_is_the_live_state(facts: list[Envelope]) -> None:
    read = [envelope_from_json(json.loads(json.dumps(envelope_to_json(fact)))) for fact in facts]
    assert repr(fold_all(read)) == repr(fold_all(facts))


@settings(deadline=None, max_examples=100)
@given(envelopes(small=False, most=30))
def test_no_order_of_valid_facts_raises_whatever_their_numbers(facts: list[Envelope]) -> None:
    state = fold_all(facts)
    assert state.status
    for figure in (remaining_seconds, smoothed_loss, step_seconds, tokens_per_second):
        figure(state)


@settings(deadline=None, max_examples=30)
@given(envelopes())
def test_a_fact_folded_in_before_changes_nothing(facts: list[Envelope]) -> None:
    state = fold_all(facts)
    assert all(fold(state, fact) is state for fact in facts)


def test_a_run_goes_from_idle_to_done() -> None:
    state = RunState()
    words = [state.status]
    for fact in (started(), generation(1, (0, 1)), StopRequested("SIGINT"), RunFinished("done", Step(1), 1.0)):
        state = after(fact, state=state)
        words.append(state.status)
    assert words == ["idle", "starting", "running", "stopping", "done"]


def test_the_status_follows_a_commit_even_where_the_journal_lacks_the_generation() -> None:
    assert after(started(), commit(1)).status == "running"


def test_a_stop_by_nobody_still_counts() -> None:
    assert after(started(), StopRequested("")).status == "stopping"


def test_commits_add_up() -> None:
    state = after(started(), commit(1, 3.0), commit(2, 2.0), commit(3, 1.0, applied=False, grad_norm=float("inf")))
    training = state.training
    assert (training.step, training.cursor, training.tokens) == (3, 96, 300)
    assert (training.committed, training.skipped) == (3, 1)
    assert training.first is not None
    assert training.first.loss == 3.0
    assert [bucket.last for bucket in training.loss] == [3.0, 2.0, 1.0]
    assert [bucket.step for bucket in training.grad_norm] == [1, 2]
    assert [mark.kind for mark in state.marks] == ["skipped"]


def test_a_step_of_no_duration_has_no_rate() -> None:
    assert len(after(commit(1, seconds=0.0)).training.tokens_per_second) == 0


def test_a_step_done_again_replaces_its_first_life() -> None:
    state = after(commit(1, 3.0), commit(2, 2.5), commit(3, 2.0), commit(2, 2.4))
    assert state.training.step == 2
    assert [bucket.last for bucket in state.training.loss] == [3.0, 2.4]
    assert [point.loss for point in state.training.recent] == [3.0, 2.4]
    assert state.training.committed == 4


def test_a_rollback_is_drawn_marked_and_alarmed() -> None:
    state = after(commit(1), commit(2), commit(3), RolledBack(Step(3), Step(1), "loss spike"))
    assert state.training.step == 1
    assert state.training.cursor == 64  # what the newest known commit began with; the next commit says better
    assert [mark.kind for mark in state.marks] == ["rollback"]
    assert state.alarms["rollback"].cause == "rolled back to step 1: loss spike"


def test_a_rollback_before_the_first_commit_changes_no_curve() -> None:
    assert after(RolledBack(Step(3), Step(0), "x")).training.step == 0


def test_an_aborted_step_is_counted_and_nothing_else() -> None:
    state = after(commit(1), StepAborted(Step(2), Generation(1), "worker 1 killed"))
    assert (state.training.step, state.training.aborted) == (1, 1)


def test_a_resumed_run_forgets_the_living_and_keeps_the_curves() -> None:
    first = after(started(), joined(0), generation(1, (0, 1)), commit(1, 3.0), commit(2, 2.0), commit(3, 1.0))
    again = started(first_step=Step(3), resumed_from="checkpoints/step-00000002", cursor=64)
    state = after(again, state=first)
    assert (state.sessions, state.workers, state.members, state.outcome) == (2, {}, (), None)
    assert (state.training.step, state.training.cursor) == (2, 64)
    assert [bucket.last for bucket in state.training.loss] == [3.0, 2.0]
    assert [mark.kind for mark in state.marks] == ["resumed"]


def test_a_journal_that_begins_with_a_resumed_run_knows_its_step() -> None:
    state = after(started(first_step=Step(51), resumed_from="elsewhere", cursor=1600))
    assert (state.training.step, state.training.cursor) == (50, 1600)


def test_a_run_started_again_from_scratch_forgets_its_first_step() -> None:
    state = after(started(), commit(1, 3.0), started(), commit(1, 4.0))
    assert state.training.first is not None
    assert state.training.first.loss == 4.0


def test_the_tree_shows_a_crash_a_planned_restart_and_the_way_back() -> None:
    state = after(ActorStarting(WORKER, Incarnation(1), "rest_for_one"), ActorReady(WORKER, Incarnation(1), 41, "mac0"))
    assert state.actors[WORKER].status == "ready"
    state = after(ActorExited(WORKER, Incarnation(1), "killed", "SIGKILL", -9, "last words"), state=state)
    row = state.actors[WORKER]
    assert (row.status, row.restarts, row.reason, row.pid) == ("exited", 1, "killed: SIGKILL", 0)
    state = after(RestartPlanned(WORKER, 1, 0.5, 2), state=state)
    assert (state.actors[WORKER].status, state.actors[WORKER].restarts_left) == ("waiting", 2)
    state = after(ActorStarting(WORKER, Incarnation(2)), ActorReady(WORKER, Incarnation(2), 42), state=state)
    row = state.actors[WORKER]
    assert (row.status, row.incarnation, row.strategy, row.host, row.pid) == ("ready", 2, "rest_for_one", "mac0", 42)
    assert state.restarts == 1


def test_an_expected_exit_is_no_restart() -> None:
    state = after(ActorExited(WORKER, Incarnation(1), "normal", expected=True))
    assert (state.restarts, state.actors[WORKER].reason) == (0, "normal")


def test_giving_up_is_critical_and_quotes_the_last_words() -> None:
    state = after(SupervisorGaveUp(ActorPath("root/node"), "4 crashes in 300 s", "Traceback\n  MemoryError\n"))
    alarm = state.alarms["gave up root/node"]
    assert (alarm.severity, alarm.cause, alarm.fix) == ("critical", "4 crashes in 300 s", "it said last: MemoryError")
    assert after(SupervisorGaveUp(ActorPath("a"), "b")).alarms["gave up a"].fix == ""


def test_a_worker_is_lost_and_comes_back() -> None:
    lost = WorkerLost(Rank(1), Incarnation(1), "killed by SIGKILL")
    state = after(joined(0), joined(1), generation(1, (0, 1), (1, 1)), commit(1), lost)
    assert (state.workers[Rank(1)].phase, state.workers_lost, state.members) == ("lost", 1, ((0, 1),))
    assert state.alarms["worker 1"].cause == "lost: killed by SIGKILL"
    assert not state.alarms["worker 1"].mended
    healed = StateHealed(Rank(1), Step(1), 0.2, 4096, (Rank(0),))
    state = after(joined(1, 2), healed, generation(3, (0, 1), (1, 2)), state=state)
    row = state.workers[Rank(1)]
    assert (row.phase, row.incarnation, row.losses, row.state_step) == ("training", 2, 1, 1)
    assert state.alarms["worker 1"].mended
    assert [mark.kind for mark in state.marks] == ["lost", "joined"]
    assert (state.step_of(Rank(1)), state.generation) == (1, 3)


def test_a_division_by_speed_is_known_of_each_worker_until_it_is_lost() -> None:
    state = after(
        WorkerJoined(Rank(0), Incarnation(1), Step(0)),
        ShardsMoved(Step(9), ((Rank(0), 16),), ((Rank(0), 11), (Rank(1), 5)), ((Rank(0), 900.0), (Rank(1), 450.0))),
    )
    assert [(row.shards, row.positions_per_second) for row in state.workers.values()] == [(11, 900.0), (5, 450.0)]
    lost = after(WorkerLost(Rank(1), Incarnation(1), "killed"), state=state)
    assert (lost.workers[Rank(0)].shards, lost.workers[Rank(1)].shards) == (11, None)


def test_a_hung_worker_is_named_with_its_phase_and_limit() -> None:
    state = after(joined(1), WorkerHung(Rank(1), Incarnation(1), "compute", 21.04, 20.0))
    assert state.workers[Rank(1)].phase == "hung"
    assert state.alarms["worker 1"].cause == "hung in compute: quiet for 21.0 s (limit 20.0 s)"


def test_a_worker_outside_the_membership_has_the_step_that_it_joined_with() -> None:
    state = after(joined(1, state_step=7))
    assert (state.step_of(Rank(1)), state.step_of(Rank(5))) == (7, 0)


def test_checkpoints_on_disk_are_listed_and_failures_alarm_until_the_next_success() -> None:
    written = [CheckpointWritten(Step(n), f"checkpoints/step-{n}", 10, 0.1) for n in (10, 20)]
    state = after(CheckpointStarted(Step(10)))
    assert state.writing_step == 10
    state = after(written[0], CheckpointFailed(Step(15), "no space left on device"), state=state)
    assert state.writing_step is None
    assert state.alarms["checkpoint"].severity == "critical"
    state = after(written[1], CheckpointRemoved(Step(10), "checkpoints/step-10"), state=state)
    assert state.alarms["checkpoint"].mended
    assert state.checkpoints == (written[1],)
    state = after(CheckpointRejected("checkpoints/step-20", "hash differs"), state=state)
    assert state.checkpoints == ()
    assert state.alarms["rejected checkpoints/step-20"].cause == "hash differs"


def test_a_checkpoint_that_nobody_waits_for_any_more_is_not_being_written() -> None:
    state = after(CheckpointStarted(Step(20)))
    gone = ActorExited(ActorPath("run/coordinator"), Incarnation(1), "killed", "signal 9", -9)
    assert after(gone, state=state).writing_step is None
    assert after(replace(gone, path=ActorPath("run/node/worker-0")), state=state).writing_step == 20
    assert after(RolledBack(Step(21), Step(20), "drift"), state=state).writing_step == 20
    assert after(RolledBack(Step(21), Step(19), "drift"), state=state).writing_step is None


def test_a_success_without_a_failure_mends_nothing() -> None:
    assert after(CheckpointWritten(Step(1), "a", 1, 0.1), CheckpointWritten(Step(2), "b", 1, 0.1)).alarms == {}


def test_a_mended_alarm_that_comes_back_begins_anew_and_is_counted() -> None:
    state = after(
        CheckpointFailed(Step(1), "full"), CheckpointWritten(Step(2), "a", 1, 0.1), CheckpointFailed(Step(3), "full")
    )
    alarm = state.alarms["checkpoint"]
    assert (alarm.seen, alarm.since_seconds, alarm.mended) == (2, 1003.0, False)


def test_a_repeated_warning_is_one_alarm_since_the_first() -> None:
    state = after(Warned("disk", "90 % full"), Warned("disk", "95 % full", "free some"))
    alarm = state.alarms["warned disk"]
    assert (alarm.cause, alarm.fix, alarm.seen, alarm.since_seconds) == ("95 % full", "free some", 2, 1001.0)


def test_alarms_are_bounded_and_the_oldest_goes_first() -> None:
    state = after(*(Warned(f"place {n}", "x") for n in range(_MOST_ALARMS + 3)))
    assert len(state.alarms) == _MOST_ALARMS
    assert next(iter(state.alarms)) == "warned place 3"


def test_a_failed_run_is_an_alarm_and_a_stopped_one_is_not() -> None:
    assert after(RunFinished("failed", Step(1), 1.0, "no data")).alarms["run"].cause == "no data"
    assert after(RunFinished("gave_up", Step(1), 1.0)).alarms["run"].cause == "gave_up"
    assert after(RunFinished("stopped", Step(1), 1.0)).alarms == {}


def test_the_first_evaluation_of_each_split_is_kept_for_ever() -> None:
    facts = [EvaluationFinished(Step(n), "held-out", 5.0 / (n + 1), 10) for n in range(1500)]
    state = after(*facts)
    assert state.training.first_evaluations == {"held-out": facts[0]}
    assert state.training.evaluations.last == facts[-1]
    assert len(state.training.evaluations) < 1200


def test_samples_before_and_after_stand_side_by_side() -> None:
    def says(step: int, prompt: str, answer: str) -> SampleGenerated:
        return SampleGenerated(Step(step), prompt, "5", answer)

    state = after(says(0, "2+3", "x"), says(0, "1+1", "y"), says(0, "2+3", "z"), says(50, "2+3", "4"))
    state = after(says(100, "2+3", "5"), says(100, "1+1", "2"), state=state)
    assert [sample.answer for sample in state.training.samples_before] == ["z", "y"]
    assert [sample.answer for sample in state.training.samples_after] == ["5", "2"]


def test_unknown_facts_are_counted_and_otherwise_ignored() -> None:
    state = after(UnknownEvent("Later"), commit(1))
    assert (state.unknown, state.training.step) == (1, 1)


def test_frequent_facts_are_not_notable() -> None:
    state = after(started(), commit(1), CheckpointStarted(Step(1)), CheckpointWritten(Step(1), "a", 1, 0.1))
    assert [type(each.event).__name__ for each in state.notable] == ["RunStarted", "CheckpointWritten"]


def test_the_pace_is_a_mean_over_the_last_steps() -> None:
    state = after(started(), commit(1, seconds=100.0), *(commit(n) for n in range(2, 41)))
    assert step_seconds(state) == 0.5
    assert tokens_per_second(state) == 200.0
    assert remaining_seconds(state) == 30.0


def test_what_cannot_be_told_is_none() -> None:
    empty = RunState()
    assert (step_seconds(empty), tokens_per_second(empty), remaining_seconds(empty), smoothed_loss(empty)) == (
        None,
    ) * 4
    assert remaining_seconds(after(started())) is None
    assert tokens_per_second(after(commit(1, seconds=0.0))) is None
    assert smoothed_loss(after(commit(1, applied=False))) is None


def test_a_finished_run_has_nothing_left() -> None:
    assert remaining_seconds(after(started(), commit(1), RunFinished("stopped", Step(1), 1.0))) == 0.0
    assert remaining_seconds(after(started(last_step=Step(1)), commit(1))) == 0.0


def test_the_smoothed_loss_weighs_by_tokens() -> None:
    assert smoothed_loss(after(commit(1, 1.0, tokens=300), commit(2, 5.0, tokens=100))) == 2.0


def test_a_recorded_journal_folds_to_what_it_told() -> None:
    state, complaint = replay(FIRST_VERSION)
    assert complaint == ""
    assert state.status == "stopped"
    assert (state.workers_lost, state.restarts, state.training.skipped, state.unknown) == (1, 1, 1, 0)
