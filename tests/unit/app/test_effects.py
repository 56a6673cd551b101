"""What each action says that it would do, and what is refused with which next move."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.app.crew import Refusal
from runtime.app.effects import EFFECTS, Effects, Scene, effects_of, rank_from
from runtime.events import CheckpointWritten, RunStarted, RunState
from runtime.events.state import ActorRow, Training
from runtime.ids import ActorPath, Rank, Step

NODE, ONE = ActorPath("run/node"), ActorPath("run/node/worker-1")
COORDINATOR, MONITOR = ActorPath("run/coordinator"), ActorPath("run/monitoring/monitor")
ROWS = {
    NODE: ActorRow(NODE, budget=3, period_seconds=60.0, failures=(10.0, 990.0)),
    ONE: ActorRow(ONE, "ready", pid=77),
    COORDINATOR: ActorRow(COORDINATOR, "ready", pid=78),
    MONITOR: ActorRow(MONITOR, "exited"),
}
STATE = RunState(wall_seconds=1000.0, actors=ROWS, training=Training(step=7))
TWO = Scene(STATE, (Rank(0), Rank(1)))
PLAN = RunStarted("quick", 2, Step(1), Step(100), 32, "c")
PAUSED = Scene(replace(STATE, plan=PLAN, pausing="kim", paused_step=7), TWO.ranks)


def told(kind: str, subject: str = "", at: Scene = TWO) -> Effects:
    return effects_of(kind, subject, at)


def refused(kind: str, subject: str = "", at: Scene = TWO) -> str:
    with pytest.raises(Refusal) as refusal:
        effects_of(kind, subject, at)
    return str(refusal.value)


def test_a_pause_finishes_the_step_under_way_and_is_asked_for_once() -> None:
    assert told("pause").sentences[0] == "step 8 is finished, and no other begins"
    assert told("pause", at=Scene(RunState(), ())).sentences[0].startswith("the work under way")
    assert refused("pause", at=PAUSED) == "the run is paused already (kim); resume it first"


def test_only_a_paused_run_goes_on() -> None:
    assert told("resume", at=PAUSED).sentences == ("step 8 begins",)
    asked = Scene(replace(STATE, pausing="kim"), TWO.ranks)
    assert told("resume", at=asked).sentences == ("the pause that was asked for is called off",)
    assert refused("resume") == "the run is not paused"


def test_a_checkpoint_says_which_step_it_will_hold() -> None:
    assert told("checkpoint").sentences == ("the state after step 8 is written, while training goes on",)
    assert told("checkpoint", at=PAUSED).sentences == ("step 7 is written; the run stays paused",)
    written = (CheckpointWritten(Step(7), "checkpoints/step-7", 1, 0.1, "x"),)
    assert "on disk already" in refused(
        "checkpoint", at=replace(PAUSED, state=replace(PAUSED.state, checkpoints=written))
    )


def test_a_stop_is_orderly_also_in_a_pause() -> None:
    assert told("stop").sentences == (
        "the step under way is finished", "a checkpoint is written", "the run ends; it can be resumed",
    )  # fmt: skip
    assert told("stop", at=PAUSED).sentences[0] == "the run ends where it stands"


def test_a_worker_is_removed_by_typing_its_name() -> None:
    assert told("remove_worker") == Effects(
        ("worker 1 ends for good", "its part of the step is done by 0"), confirm="worker-1"
    )
    assert told("remove_worker", "0", Scene(STATE, (Rank(0),))).sentences[1] == "its part of the step is done by nobody"
    assert refused("remove_worker", "5") == "there is no worker 5; there are 0, 1"
    assert refused("remove_worker", "x") == "'x' is no rank: a number from 0"
    assert rank_from("3") == 3


def test_a_restart_costs_no_budget_and_a_kill_does() -> None:
    assert told("restart", ONE).sentences == (
        "worker 1 ends and starts anew, healed by the others", "no step is lost: 7 stands",
    )  # fmt: skip
    kill = told("kill", ONE)
    assert kill.confirm == "worker-1"
    assert kill.sentences[0] == "process 77 (worker-1) ends at once, with nothing saved"
    assert kill.sentences[-1] == "its supervisor counts a failure: 1 of 3 restarts within 60 s are left"


def test_the_last_failure_that_is_forgiven_is_named() -> None:
    tired = replace(ROWS[NODE], failures=(980.0, 985.0, 990.0))
    at = Scene(replace(STATE, actors={**ROWS, NODE: tired}), TWO.ranks)
    assert told("kill", ONE, at).sentences[-1] == (
        "its supervisor has no restart left within 60 s: it GIVES UP, and all below it ends"
    )


def test_the_only_worker_takes_the_state_with_it() -> None:
    alone = Scene(STATE, (Rank(1),))
    assert "newest checkpoint" in told("restart", ONE, alone).sentences[1]
    assert "newest checkpoint" in told("kill", ONE, alone).sentences[1]


def test_coordinator_and_monitor_cost_no_step() -> None:
    assert told("restart", COORDINATOR).sentences[-1].startswith("a successor goes on")
    assert told("kill", COORDINATOR).sentences[-1] == "its supervisor counts a failure"
    assert told("restart", MONITOR).sentences[-1].startswith("consoles show stale figures")


def test_who_has_no_process_cannot_be_killed_and_who_is_no_process_not_restarted() -> None:
    assert refused("kill", MONITOR) == f"{MONITOR} has no process now: it is exited; try again in a moment"
    assert refused("kill", "run/node/worker-0").endswith("it is unknown; try again in a moment")
    for subject in ("run/journal", "run/node/worker-9", ""):
        assert "cannot be restarted by itself" in refused("restart", subject)


def test_an_alarm_has_a_key_and_an_action_a_name() -> None:
    assert told("acknowledge", "worker 1").sentences[0].startswith("the alarm is shown as seen")
    assert refused("acknowledge") == "which alarm? its key is the subject"
    assert refused("explode") == f"'explode' is no action; there are {', '.join(EFFECTS)}"
    assert told("add_worker").sentences[0] == "one more worker starts on this machine"
