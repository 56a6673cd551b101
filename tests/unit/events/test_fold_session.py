"""Policies of supervisors, a new root process, acknowledged alarms: how they change what is known."""

from __future__ import annotations

from runtime.events import (
    ActorStarting,
    AlarmAcknowledged,
    CheckpointRemoved,
    CheckpointWritten,
    Envelope,
    RestartPlanned,
    RestartRequested,
    RunFinished,
    SpareReady,
    SupervisorStarted,
    Warned,
    fold,
)
from runtime.events.fold import is_notable
from runtime.ids import ActorPath, Incarnation, Step
from tests.unit.events.test_fold import after, commit, generation, joined, started

ROOT, NODE, WORKER = ActorPath("run"), ActorPath("run/node"), ActorPath("run/node/worker-1")


def test_a_supervisor_burns_its_budget_with_each_counted_failure_and_gets_it_back_with_time() -> None:
    state = after(SupervisorStarted(NODE, "one_for_one", 3, 60.0), ActorStarting(WORKER, Incarnation(1)))
    state = after(RestartPlanned(WORKER, 1, 0.1, 2), RestartPlanned(WORKER, 2, 0.1, 1), state=state)
    assert len(state.actors[NODE].failures) == 2
    collateral = after(RestartPlanned(WORKER, 2, 0.1, 1), state=state)
    assert collateral.actors[NODE].failures == state.actors[NODE].failures
    later = Envelope(state.seq + 1, state.wall_seconds + 100, WORKER, RestartPlanned(WORKER, 1, 0.1, 2))
    assert fold(state, later).actors[NODE].failures == (state.wall_seconds + 100,)


def test_a_planned_restart_below_an_unknown_policy_burns_nothing() -> None:
    assert NODE not in after(RestartPlanned(WORKER, 1, 0.1, 2)).actors


def test_a_new_root_process_knows_nobody_and_what_starts_before_its_plan_stays() -> None:
    first = after(started(), joined(0), generation(1, (0, 1)), commit(1), RunFinished("stopped", Step(1), 9.0))
    state = after(SupervisorStarted(ROOT, "one_for_one", 3, 60.0, pid=7, host="mac0"), state=first)
    assert (state.workers, state.members, state.outcome, list(state.actors)) == ({}, (), None, [ROOT])
    state = after(ActorStarting(NODE, Incarnation(1)), Warned("disk", "slow"), started(pid=7), state=state)
    assert (list(state.actors), list(state.alarms)) == ([ROOT, NODE], ["warned disk"])
    assert after(started(pid=8), state=state).actors == {}


def test_an_acknowledged_alarm_is_known_with_who_and_when() -> None:
    state = after(Warned("disk", "slow"), AlarmAcknowledged("warned disk", "kim"))
    assert state.acknowledged == {"warned disk": ("kim", state.wall_seconds)}


def test_a_list_of_events_has_skipped_steps_and_no_others() -> None:
    told = [Envelope(1, 1.0, WORKER, fact) for fact in (commit(1), commit(1, applied=False), SpareReady(3), started())]
    assert [is_notable(envelope) for envelope in told] == [False, True, False, True]


def test_the_time_of_a_checkpoint_is_kept_as_long_as_the_checkpoint() -> None:
    state = after(CheckpointWritten(Step(1), "a", 9, 0.1), CheckpointWritten(Step(2), "b", 9, 0.1))
    assert list(state.written_seconds) == ["a", "b"]
    state = after(CheckpointRemoved(Step(1), "a"), CheckpointWritten(Step(3), "c", 9, 0.1), state=state)
    assert list(state.written_seconds) == ["b", "c"]


def test_a_wish_for_a_restart_is_notable_and_changes_nothing_by_itself() -> None:
    state = after(RestartRequested(WORKER, "kim"))
    assert (state.actors, len(state.notable)) == ({}, 1)
