"""What supervisors and actors say, as the journal keeps it."""

from __future__ import annotations

import signal

import pytest

from runtime import events as facts
from runtime.actors.exit import Exit, ProcessExit
from runtime.actors.frames import Hello
from runtime.app.reports import as_event, policies
from runtime.ids import ActorPath, Incarnation, Step
from runtime.supervision import (
    ChildSpec,
    Exited,
    GivingUp,
    Ready,
    RestartPlanned,
    Starting,
    Stopping,
    Strategy,
    Stuck,
    Supervisor,
    SupervisorSpec,
)
from tests.support.supervision_bodies import good

WORKER, ROOT, SECOND = ActorPath("run/node/worker-1"), ActorPath("run"), Incarnation(2)


def kept(said: object) -> facts.Event:
    event = as_event(said, ROOT)
    assert event is not None
    assert event[1] == WORKER
    return event[0]


def test_a_process_that_is_ready_tells_its_pid_host_and_device() -> None:
    hello = Hello(77, {"host": "mac", "device": "metal"})
    assert kept(Ready(WORKER, SECOND, 1.5, hello)) == facts.ActorReady(WORKER, SECOND, 77, "mac", "metal", 1.5)


def test_an_actor_of_this_process_is_ready_without_a_pid() -> None:
    assert kept(Ready(WORKER, SECOND, 0.1, None)) == facts.ActorReady(WORKER, SECOND, 0, "", "", 0.1)


def test_a_crash_keeps_its_exit_code_and_last_output() -> None:
    died = ProcessExit("killed by SIGSEGV", signal=signal.SIGSEGV, tail="Fatal Python error")
    exited = kept(Exited(WORKER, SECOND, Exit.of(died), asked=False))
    assert exited == facts.ActorExited(
        WORKER, SECOND, "error", "killed by SIGSEGV", -signal.SIGSEGV, "Fatal Python error", expected=False
    )


@pytest.mark.parametrize(("end", "asked"), [(Exit.normal(), False), (Exit.killed("too slow", "its output"), True)])
def test_an_end_that_was_wanted_is_expected_and_explains_nothing(end: Exit, asked: bool) -> None:
    exited = kept(Exited(WORKER, SECOND, end, asked))
    assert isinstance(exited, facts.ActorExited)
    assert (exited.expected, exited.tail, exited.code) == (True, "", None)


def test_starts_restarts_and_giving_up_are_facts_of_the_child() -> None:
    assert kept(Starting(WORKER, SECOND)) == facts.ActorStarting(WORKER, SECOND)
    planned = RestartPlanned(WORKER, SECOND, 3, 0.5, 2, collateral=False, reason="it crashed")
    assert kept(planned) == facts.RestartPlanned(WORKER, 3, 0.5, 2)
    assert kept(GivingUp(WORKER, ActorPath("run/node/worker-0"), "too often", "tail")) == facts.SupervisorGaveUp(
        ActorPath("run/node/worker-0"), "too often", "tail"
    )


def test_a_stuck_actor_is_a_warning_with_what_happens_next() -> None:
    warned = kept(Stuck(WORKER, SECOND, 5.0))
    assert isinstance(warned, facts.Warned)
    assert warned.place == WORKER
    assert "still runs 5 s after it was cancelled" in warned.text
    assert warned.fix


def test_an_actors_own_fact_passes_unchanged_under_its_path() -> None:
    fact = facts.CheckpointStarted(Step(3))
    assert as_event(fact, WORKER) == (fact, WORKER)


@pytest.mark.parametrize("said", [Stopping(WORKER, SECOND, 5.0), "a sentence", facts.UnknownEvent("later")])
def test_what_no_reader_needs_is_not_kept(said: object) -> None:
    assert as_event(said, WORKER) is None


def test_each_supervisor_of_the_tree_says_its_policy_parents_first() -> None:
    node = Supervisor(SupervisorSpec((ChildSpec("worker-0", good),), Strategy.REST_FOR_ONE, intensity=2))
    tree = Supervisor(SupervisorSpec((ChildSpec("journal", good), ChildSpec("node", node)), period_seconds=9.0))
    told = [(fact.path, fact.strategy, fact.intensity, fact.period_seconds) for fact in policies(tree, ROOT)]
    assert told == [("run", "one_for_one", 3, 9.0), ("run/node", "rest_for_one", 2, 60.0)]
