"""Who is there: spares, workers that are added and asked to leave, and those who came before the plan was known."""

from __future__ import annotations

from runtime.events import (
    ActorReady,
    GenerationStarted,
    RunStarted,
    SpareLost,
    SpareReady,
    WorkerAdded,
    WorkerJoined,
    WorkerLost,
    WorkerRemoved,
)
from runtime.ids import Generation, Incarnation, Rank, Step
from tests.unit.events.test_fold import WORKER, after


def test_spares_are_known_until_they_get_a_rank_or_die() -> None:
    started = RunStarted("r", 1, Step(1), Step(2), 1, "c")
    state = after(started, SpareReady(11), SpareReady(12), SpareReady(13))
    assert state.spares == {11, 12, 13}
    state = after(SpareLost(12, "killed by SIGKILL"), ActorReady(WORKER, Incarnation(2), 11), state=state)
    assert state.spares == {13}
    assert after(started, state=state).spares == frozenset()


def test_a_worker_that_was_asked_to_leave_is_no_loss_and_no_alarm() -> None:
    there = (WorkerJoined(Rank(0), Incarnation(1), Step(0)), WorkerJoined(Rank(1), Incarnation(1), Step(0)))
    members = ((Rank(0), Incarnation(1)), (Rank(1), Incarnation(1)))
    state = after(*there, GenerationStarted(Generation(1), Step(1), members), WorkerRemoved(Rank(1), "me"))
    assert state.workers[Rank(1)].phase == "leaving"
    state = after(WorkerLost(Rank(1), Incarnation(1), "its session ended"), state=state)
    assert (list(state.workers), state.members, state.workers_lost, dict(state.alarms)) == ([0], members[:1], 0, {})
    state = after(WorkerAdded(Rank(1), "me"), WorkerJoined(Rank(1), Incarnation(2), Step(0)), state=state)
    assert state.workers[Rank(1)].phase == "joined"


def test_the_first_session_keeps_those_who_joined_before_its_plan_was_known() -> None:
    joined = WorkerJoined(Rank(0), Incarnation(1), Step(0), 77)
    state = after(ActorReady(WORKER, Incarnation(1), 77), joined, RunStarted("r", 1, Step(1), Step(2), 1, "c"))
    assert (state.actors[WORKER].pid, state.workers[Rank(0)].pid) == (77, 77)
