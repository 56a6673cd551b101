"""Raising an alarm, and mending it: pure changes of RunState.alarms, which is bounded and newest last."""

from __future__ import annotations

from dataclasses import replace

from runtime.events.state import Alarm, RunState, Severity

_MOST_ALARMS = 64


def raise_alarm(
    state: RunState, key: str, place: str, cause: str, *, fix: str = "", severity: Severity = "warning"
) -> RunState:
    """The state with this alarm as its newest; an alarm of the same key is replaced and counted."""
    alarms = dict(state.alarms)
    before = alarms.pop(key, None)
    alarms[key] = Alarm(
        key=key,
        severity=severity,
        place=place,
        cause=cause,
        fix=fix,
        since_seconds=before.since_seconds if before and not before.mended else state.wall_seconds,
        seen=before.seen + 1 if before else 1,
    )
    while len(alarms) > _MOST_ALARMS:
        del alarms[next(iter(alarms))]
    return replace(state, alarms=alarms)


def mend(state: RunState, key: str) -> RunState:
    """The state with that alarm mended, if there is one."""
    alarm = state.alarms.get(key)
    if alarm is None or alarm.mended:
        return state
    return replace(state, alarms={**state.alarms, key: replace(alarm, mended=True)})
