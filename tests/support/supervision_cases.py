"""Directed cases for the supervisor's core: hung children, stopping, and commands. Importing it registers them all."""

from __future__ import annotations

from typing import Any

from runtime.actors import Exit
from runtime.supervision.messages import (
    AddChild,
    Begin,
    Finish,
    Plan,
    RestartChild,
    Start,
    Stop,
    StopAll,
    StopChild,
    Suspect,
    Tick,
    WakeAt,
)
from runtime.supervision.spec import Restart, Strategy
from tests.support import supervision_cases_restart
from tests.support.supervision_fuzz import Unstartable
from tests.support.supervision_script import CASES, Script, case, child, same

__all__ = ["CASES", "supervision_cases_restart"]
# hung children


@case
def a_hung_child_is_killed_without_grace_and_that_is_its_failure(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TRANSIENT), intensity=1).run()
    same(script.feed(Suspect("a", 1, "step 7 for 90 s")), [Stop("a", 1, 0.0)])
    script.ends("a", Exit.normal())
    plan = script.only(Plan)
    same((plan.left, plan.exit.ok, plan.exit.kind, plan.exit.detail), (0, False, "hung", "step 7 for 90 s"))


@case
def a_suspicion_of_an_earlier_incarnation_kills_nobody(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    script.ends("a")
    script.wait(1.0)
    script.up("a")
    same(script.feed(Suspect("a", 1, "late news")), [])


# stopping


@case
def the_end_stops_one_at_a_time_in_reverse_and_restarts_nobody(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c").run()
    same(script.feed(StopAll()), [Stop("c", 1, 5.0)])
    same(script.ends("a"), [])
    same(script.ends("c"), [Stop("b", 1, 5.0)])
    same(script.feed(AddChild(child("d"))), [])
    same(sorted(script.core.children), ["a", "b", "c"])
    same(script.ends("b"), [Finish(True, "shutdown")])
    same(script.feed(Tick()), [])


@case
def the_end_does_not_wait_for_a_backoff(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    script.ends("a")
    same(script.feed(StopAll()), [Finish(True, "shutdown")])


@case
def a_hurry_takes_the_grace_from_the_running_stop_and_from_those_to_come(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c").run()
    script.feed(StopAll())
    same(script.feed(StopAll(hurry=True)), [Stop("c", 1, 0.0)])
    same(script.feed(StopAll(hurry=True)), [])
    same(script.ends("c"), [Stop("b", 1, 0.0)])
    same(script.ends("b"), [Stop("a", 1, 0.0)])


# commands


@case
def a_stopped_child_stays_down_until_it_is_restarted(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    same(script.feed(StopChild("a")), [Stop("a", 1, 5.0)])
    same(script.ends("a"), [])
    same(script.wait(100.0), [])
    same(script.feed(RestartChild("a"))[0], Start("a", 2))


@case
def a_removed_child_is_forgotten_but_its_incarnations_are_not(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.feed(StopChild("b", forget=True))
    script.ends("b")
    same(sorted(script.core.children), ["a"])
    same(script.core.incarnations(), {"a": 1, "b": 1})
    same(script.feed(AddChild(child("b")))[0], Start("b", 2))


@case
def a_child_in_backoff_can_be_removed(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.ends("b")
    same(script.feed(StopChild("b", forget=True)), [])
    same(sorted(script.core.children), ["a"])


@case
def nobody_waits_for_the_successor_of_a_removed_child(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c")
    script.feed(Begin())
    script.feed(StopChild("b", forget=True))
    script.feed(AddChild(child("b")))
    same(script.up("a").started(), ["c"])
    same(script.up("c").started(), ["b"])


@case
def a_removal_wins_over_a_suspicion(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.feed(Suspect("b", 1, "no progress"))
    script.feed(StopChild("b", forget=True))
    same(script.ends("b"), [])
    same(sorted(script.core.children), ["a"])


@case
def it_ends_when_those_not_held_are_done(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", Restart.TRANSIENT)).run()
    script.feed(StopChild("a"))
    script.ends("a")
    same(script.ends("b", Exit.normal()), [Finish(True, "finished")])


@case
def a_restart_on_command_is_free_and_needs_no_backoff(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=1).run()
    same(script.feed(RestartChild("a")), [Stop("a", 1, 5.0)])
    same(script.ends("a")[0], Start("a", 2))
    same(script.core.restarts_left(script.now), 1)
    script.up("a")
    script.ends("a")
    same(script.wait(0.5), [WakeAt(1.0)])
    same(script.feed(RestartChild("a"))[0], Start("a", 3))


@case
def a_restart_on_command_takes_those_along_that_the_strategy_ties(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", strategy=Strategy.REST_FOR_ONE).run()
    same(script.feed(RestartChild("b")), [Stop("c", 1, 5.0)])
    same(script.ends("c"), [Stop("b", 1, 5.0)])
    script.ends("b")
    same(script.started(), ["b"])
    same(script.up("b").started(), ["c"])


@case
def what_is_done_can_be_started_again_on_command(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", Restart.TRANSIENT)).run()
    script.ends("b", Exit.normal())
    same(script.feed(RestartChild("b"))[0], Start("b", 2))


@case
def an_added_child_starts_last_and_is_supervised_like_the_others(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    same(script.feed(AddChild(child("b")))[0], Start("b", 1))
    script.up("b")
    script.ends("b")
    same(script.only(Plan).id, "b")
    same(script.feed(StopAll()), [Stop("a", 1, 5.0)])


@case
def an_added_child_that_cannot_start_is_dropped_and_the_others_go_on(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    script.feed(AddChild(child("b", fatal=(Unstartable,), significant=True)))
    same(script.ends("b", Exit.of(Unstartable("no such model"))), [])
    same(script.wait(100.0), [])
    same(script.feed(AddChild(child("b")))[0], Start("b", 2))


@case
def a_name_that_lives_cannot_be_added(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    same(script.feed(AddChild(child("a"))), [])
    same(script.incarnation("a"), 1)


@case
def commands_for_an_unknown_name_do_nothing(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    for command in (StopChild("x"), RestartChild("x"), Suspect("x", 1, "")):
        same(script.feed(command), [])


@case
def a_held_child_lets_those_after_it_start(core_class: Any) -> None:
    script = Script(core_class, "a", "b")
    script.feed(Begin())
    same(script.feed(StopChild("a")), [Stop("a", 1, 5.0), Start("b", 1), WakeAt(30.0)])


# starting together


@case
def children_that_start_together_wait_for_nobody(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", start="together")
    script.feed(Begin())
    same(script.started(), ["a", "b", "c"])
    script.up("c", "a", "b")
    same(script.core.settled, True)
    same([start.id for start in script.feed(AddChild(child("d"))) if isinstance(start, Start)], ["d"])


@case
def a_failure_that_it_caused_itself_is_told_from_an_end_that_was_wanted(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.feed(Suspect("a", 1, "step 7 for 90 s"))
    script.feed(StopChild("b"))
    killed = Exit.killed("cancelled", "its last words")
    same(script.core.failure_of("a", killed), Exit(False, "hung", "step 7 for 90 s", tail="its last words"))
    same(script.core.failure_of("b", killed), None)
    same(script.core.failure_of("nobody", killed), None)
