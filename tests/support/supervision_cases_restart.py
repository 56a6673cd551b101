"""Directed cases for the supervisor's core: who is restarted, when, and whose fault it was. OTP's list as sentences."""

from __future__ import annotations

from typing import Any

from runtime.actors import Exit
from runtime.supervision.messages import (
    Begin,
    Finish,
    Plan,
    RestartChild,
    Start,
    Stop,
    StopAll,
    StopChild,
    WakeAt,
)
from runtime.supervision.spec import Restart, Strategy
from tests.support.supervision_fuzz import Unstartable
from tests.support.supervision_script import CRASH, Script, case, child, same

# starting


@case
def children_start_one_after_the_other_each_when_the_one_before_is_ready(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c")
    script.feed(Begin())
    same(script.started(), ["a"])
    assert not script.core.settled
    same(script.up("a").started(), ["b"])
    same(script.up("b").started(), ["c"])
    assert not script.core.settled
    script.up("c")
    assert script.core.settled
    same(script.core.incarnations(), {"a": 1, "b": 1, "c": 1})


@case
def a_child_that_fails_before_it_was_ever_ready_ends_the_supervisor_at_once(core_class: Any) -> None:
    script = Script(core_class, "a", "b", intensity=3)
    script.feed(Begin())
    script.up("a")
    script.ends("b")
    same(script.stopped(), ["a"])
    script.ends("a", Exit.normal())
    same(script.done, [Finish(False, "start_failed", "b", CRASH)])


@case
def a_child_that_is_not_ready_in_time_is_killed_and_cannot_start(core_class: Any) -> None:
    script = Script(core_class, child("a", start_seconds=7.0))
    same(script.feed(Begin()), [Start("a", 1), WakeAt(7.0)])
    same(script.wait(6.0), [WakeAt(7.0)])
    same(script.wait(1.0), [Stop("a", 1, 0.0)])
    script.ends("a", Exit.killed("cancelled"))
    finish = script.only(Finish)
    same(
        (finish.verdict, finish.exit.kind, finish.exit.detail),
        ("start_failed", "start_timeout", "not ready within 7 s"),
    )


@case
def a_later_start_that_is_late_is_a_failure_like_any_other(core_class: Any) -> None:
    script = Script(core_class, child("a", start_seconds=7.0)).run()
    script.ends("a")
    same(script.wait(1.0), [Start("a", 2), WakeAt(8.0)])
    same(script.wait(7.0), [Stop("a", 2, 0.0)])
    script.ends("a", Exit.killed("cancelled"))
    plan = script.only(Plan)
    same((plan.attempt, plan.left, plan.exit.kind), (2, 1, "start_timeout"))


@case
def a_later_start_that_fails_counts_as_a_restart(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=2, period_seconds=100.0).run()
    script.ends("a")
    script.wait(1.0)
    script.ends("a")
    same(script.only(Plan).left, 0)
    script.wait(2.0)
    script.ends("a")
    same(script.only(Finish).verdict, "limit")


# ending by itself


@case
def a_permanent_child_is_restarted_even_after_a_normal_end(core_class: Any) -> None:
    script = Script(core_class, "a").run()
    script.ends("a", Exit.normal())
    same(script.wait(1.0), [Start("a", 2), WakeAt(31.0)])


@case
def a_transient_child_that_is_done_is_not_restarted(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", Restart.TRANSIENT)).run()
    same(script.ends("b", Exit.normal()), [])
    script.ends("a", CRASH)
    same(script.wait(60.0), [Start("a", 2), WakeAt(90.0)])


@case
def a_transient_child_that_failed_is_restarted(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TRANSIENT)).run()
    script.ends("a")
    same(script.wait(1.0)[0], Start("a", 2))


@case
def a_temporary_child_is_never_restarted(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", Restart.TEMPORARY)).run()
    same(script.ends("b"), [])
    same(script.feed(RestartChild("b")), [])
    same(script.wait(100.0), [])


@case
def a_significant_child_that_is_done_ends_the_supervisor_well(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", Restart.TRANSIENT, significant=True), "c").run()
    same(script.ends("b", Exit.normal()), [Stop("c", 1, 5.0)])
    same(script.ends("c"), [Stop("a", 1, 5.0)])
    same(script.ends("a"), [Finish(True, "significant", "b", Exit.normal())])


@case
def a_significant_temporary_child_that_failed_ends_the_supervisor_badly(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TEMPORARY, significant=True)).run()
    same(script.ends("a"), [Finish(False, "significant", "a", CRASH)])


@case
def a_significant_child_that_will_be_restarted_ends_nothing(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TRANSIENT, significant=True)).run()
    script.ends("a")
    same(script.wait(1.0)[0], Start("a", 2))


@case
def it_ends_well_when_its_last_child_is_done(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TRANSIENT), child("b", Restart.TEMPORARY)).run()
    same(script.ends("a", Exit.normal()), [])
    same(script.ends("b"), [Finish(True, "finished")])


@case
def it_stays_without_children_when_it_is_told_to(core_class: Any) -> None:
    script = Script(core_class, child("a", Restart.TRANSIENT), stays_when_empty=True).run()
    same(script.ends("a", Exit.normal()), [])
    same(script.feed(StopAll()), [Finish(True, "shutdown")])


@case
def a_fatal_failure_is_not_restarted(core_class: Any) -> None:
    script = Script(core_class, "a", child("b", fatal=(Unstartable,))).run()
    end = Exit.of(Unstartable("no such model"))
    same(script.ends("b", end), [Stop("a", 1, 5.0)])
    same(script.ends("a"), [Finish(False, "fatal", "b", end)])


@case
def an_interrupt_in_a_child_ends_the_tree_in_order(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c").run()
    end = Exit.of(KeyboardInterrupt())
    same(script.ends("b", end), [Stop("c", 1, 5.0)])
    same(script.ends("c"), [Stop("a", 1, 5.0)])
    same(script.ends("a"), [Finish(False, "interrupted", "b", end)])


# strategies


@case
def one_for_one_leaves_the_others_alone(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c").run()
    script.ends("b")
    same(script.stopped(), [])
    script.wait(1.0)
    same(script.started(), ["b"])
    script.up("b")
    same(script.core.incarnations(), {"a": 1, "b": 2, "c": 1})


@case
def one_for_one_restarts_a_child_while_another_waits_for_its_own_restart(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.ends("a")
    script.ends("b")
    script.wait(1.0)
    same(script.started(), ["a", "b"])


@case
def one_for_one_restarts_a_child_while_another_takes_its_time_to_stop(core_class: Any) -> None:
    script = Script(core_class, "a", "b").run()
    script.feed(StopChild("a"))
    script.ends("b")
    same(script.wait(1.0), [Start("b", 2), WakeAt(31.0)])


@case
def one_for_all_stops_in_reverse_and_starts_all_again_in_order(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", strategy=Strategy.ONE_FOR_ALL).run()
    script.ends("b")
    same(script.stopped(), ["c"])
    script.ends("c")
    same(script.stopped(), ["a"])
    same(script.ends("a"), [WakeAt(1.0)])
    script.wait(1.0)
    same(script.started(), ["a"])
    same(script.up("a").started(), ["b"])
    same(script.up("b").started(), ["c"])
    same(script.core.incarnations(), {"a": 2, "b": 2, "c": 2})


@case
def one_for_all_does_not_start_again_what_is_done_or_temporary(core_class: Any) -> None:
    children = ("a", child("b", Restart.TRANSIENT), child("c", Restart.TEMPORARY))
    script = Script(core_class, *children, strategy=Strategy.ONE_FOR_ALL).run()
    script.ends("b", Exit.normal())
    script.ends("a")
    same(script.stopped(), ["c"])
    script.ends("c", Exit.normal())
    script.wait(1.0)
    same(script.started(), ["a"])
    same(script.up("a").started(), [])


@case
def rest_for_one_restarts_the_later_and_leaves_the_earlier(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", "d", strategy=Strategy.REST_FOR_ONE).run()
    script.ends("b")
    same(script.stopped(), ["d"])
    same(script.ends("d"), [Stop("c", 1, 5.0)])
    same(script.ends("c"), [WakeAt(1.0)])
    script.wait(1.0)
    same(script.started(), ["b"])
    same(script.up("b").started(), ["c"])
    same(script.up("c").started(), ["d"])
    same(script.core.incarnations(), {"a": 1, "b": 2, "c": 2, "d": 2})


@case
def a_group_waits_for_the_longest_backoff_of_its_members(core_class: Any) -> None:
    script = Script(core_class, "a", "b", strategy=Strategy.ONE_FOR_ALL).run()
    script.ends("b")
    script.ends("a")
    same(script.wait(0.5), [WakeAt(1.0)])
    script.wait(0.5)
    same(script.started(), ["a"])


@case
def a_second_crash_during_a_group_restart_needs_no_code_of_its_own(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", strategy=Strategy.ONE_FOR_ALL).run()
    script.ends("a")  # c is asked to stop; b crashes before it is asked
    same(script.ends("b"), [])
    same(script.ends("c"), [WakeAt(1.0)])
    script.wait(1.0)
    script.ends("a")  # and the first one fails again on its way up
    same(script.only(Plan).attempt, 2)
    script.wait(2.0)
    same(script.started(), ["a"])


# the limit, the backoff, and whose fault it is


@case
def the_failure_after_the_last_allowed_one_ends_the_supervisor(core_class: Any) -> None:
    script = Script(core_class, "a", "b", intensity=2, period_seconds=50.0).run()
    for expected in (1, 0):
        script.ends("a")
        same(script.only(Plan).left, expected)
        script.wait(10.0)
        script.up("a")
    same(script.ends("a"), [Stop("b", 1, 5.0)])
    same(script.ends("b"), [Finish(False, "limit", "a", CRASH)])


@case
def failures_older_than_the_period_are_forgotten(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=1, period_seconds=50.0).run()
    for _ in range(5):
        script.ends("a")
        same(script.only(Plan).left, 0)
        script.wait(50.0)
        script.up("a")
    same(script.core.restarts_left(script.now), 1)


@case
def an_intensity_of_zero_allows_no_restart(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=0).run()
    same(script.ends("a"), [Finish(False, "limit", "a", CRASH)])


@case
def delays_grow_with_failures_in_a_row_and_start_again_after_a_stable_time(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=5, period_seconds=300.0).run()
    delays = []
    for lived in (0.0, 0.0, 19.0, 20.0):
        script.wait(lived)
        script.ends("a")
        delays.append(script.only(Plan).delay_seconds)
        script.wait(delays[-1])
        script.up("a")
    same(delays, [1.0, 2.0, 4.0, 1.0])


@case
def a_long_start_is_not_a_stable_time(core_class: Any) -> None:
    script = Script(core_class, "a", intensity=5, period_seconds=300.0).run()
    script.ends("a")
    script.wait(1.0)
    script.wait(25.0)
    script.ends("a")
    same(script.only(Plan).attempt, 2)


@case
def those_who_fall_with_the_first_do_not_burn_the_limit(core_class: Any) -> None:
    script = Script(core_class, "a", "b", "c", intensity=1).run()
    for name, collateral in (("b", False), ("a", True), ("c", True)):
        script.ends(name)
        same((script.only(Plan).collateral, script.only(Plan).left), (collateral, 0))
    script.wait(1.0)
    same(script.started(), ["a", "b", "c"])
    script.up("a", "b", "c")
    script.ends("c")
    script.ends("a")
    script.ends("b")
    same(script.only(Finish).verdict, "limit")


@case
def who_falls_after_all_were_up_again_is_counted(core_class: Any) -> None:
    script = Script(core_class, "a", "b", intensity=2).run()
    script.ends("a")
    script.wait(1.0)
    script.up("a")
    script.ends("b")
    same((script.only(Plan).collateral, script.only(Plan).left), (False, 0))


@case
def the_same_child_failing_twice_is_no_collateral_of_itself(core_class: Any) -> None:
    script = Script(core_class, "a", "b", intensity=2).run()
    script.ends("a")
    script.wait(1.0)
    script.ends("a")
    same((script.only(Plan).collateral, script.only(Plan).left), (False, 0))
