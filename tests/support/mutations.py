# ruff: noqa: E501 - a table reads best with one mistake per line
"""Hand mutations of the supervisor's core: small, plausible mistakes that the tests must catch, every one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.supervision import core


@dataclass(frozen=True)
class Mutation:
    """Replace `old`, which occurs exactly once in core.py, by `new`."""

    mistake: str
    old: str
    new: str


MUTATIONS = (
    Mutation("stale incarnations are heard", "child.incarnation == event.incarnation and child.is_live", "child.is_live"),
    Mutation("events of the dead are heard", "== event.incarnation and child.is_live", "== event.incarnation"),
    Mutation("the last verdict wins", "if self.ending is None:  # the first", "if True:  # the first"),
    Mutation("incarnations are not counted", "child.incarnation += 1", "child.incarnation = 1"),
    Mutation("a gate opens for a starting child", "(Phase.RUNNING, Phase.GONE) or not other.wanted", "(Phase.RUNNING, Phase.GONE, Phase.STARTING) or not other.wanted"),
    Mutation("a gate waits for a child that is held", "in (Phase.RUNNING, Phase.GONE) or not other.wanted", "in (Phase.RUNNING, Phase.GONE)"),
    Mutation("a gate waits for a child that is gone", "other.phase in (Phase.RUNNING, Phase.GONE) or", "other.phase is Phase.RUNNING or"),
    Mutation("children start without order", 'frozenset(self.children) if self.spec.start == "in_order" else', "frozenset[str]() if True else"),
    Mutation("a restarted group starts without order", "other.gate |= frozenset(", "other.gate &= frozenset("),
    Mutation("a restarted child waits for a sibling's restart", "child.gate = frozenset()\n", "pass\n"),
    Mutation("the first started is stopped first", "child = doomed[-1]", "child = doomed[0]"),
    Mutation("stops overlap", "if stopping is None and doomed:", "if doomed and doomed[-1] is not stopping:"),
    Mutation("a hurry does not shorten a running stop", "stopping.doom.grace_seconds > 0 and self._hurry", "False"),
    Mutation("a hurry does not shorten the next stops", "        if self._hurry:\n            child.doom = replace", "        if False:\n            child.doom = replace"),
    Mutation("a hurry is repeated for ever", "child.doom = replace(child.doom, grace_seconds=0.0)\n        return", "pass\n        return"),
    Mutation("it finishes with live children", "if not any(child.is_live for child in children):", "if True:"),
    Mutation("the end forgets to stop", "if child.doom or self.ending]", "if child.doom]"),
    Mutation("it starts children while it ends", "                actions.append(self.ending)\n            return actions", "                actions.append(self.ending)\n                return actions"),
    Mutation("the end restarts the crashed", "        if self.ending:\n            return\n        if doom", "        if doom"),
    Mutation("a failure while stopping counts", "        elif doom is not None:\n            self._stopped(child, now)\n            return\n", ""),
    Mutation("a hung child's exit is no failure", "if doom is not None and doom.blame is not None:", "if False:"),
    Mutation("a hung child gets a grace", "else _Doom(0.0, (\"hung\", why))", "else _Doom(child.spec.grace_seconds, (\"hung\", why))"),
    Mutation("a hung child leaves as if well", "replace(end, ok=False, kind=self.blame[0]", "replace(end, kind=self.blame[0]"),
    Mutation("a hung child's suspicion is dropped", "case Suspect(_, _, why) if child.phase is not Phase.STOPPING:", "case Suspect(_, _, why) if child.phase is Phase.STARTING:"),
    Mutation("a temporary child is restarted with its group", "        elif child.spec.restart is Restart.TEMPORARY:\n            child.enter(Phase.GONE, now)\n", ""),
    Mutation("a temporary child is restarted by command", " and child.spec.restart is not Restart.TEMPORARY", ""),
    Mutation("a temporary child is restarted when it fails", "(spec.restart is Restart.TRANSIENT and not end.ok)", "(spec.restart is not Restart.PERMANENT and not end.ok)"),
    Mutation("a transient child is restarted when it is done", "(spec.restart is Restart.TRANSIENT and not end.ok)", "(spec.restart is Restart.TRANSIENT)"),
    Mutation("a permanent child may end well", "again = spec.restart is Restart.PERMANENT or", "again = (spec.restart is Restart.PERMANENT and not end.ok) or"),
    Mutation("a first start is tried again", "if not child.was_ready:", "if False:"),
    Mutation("an added child that cannot start ends all", "if not child.added:", "if True:"),
    Mutation("a later start that fails ends all", "child.was_ready = True", "pass"),
    Mutation("fatal failures are restarted", "again and isinstance(end.error, spec.fatal)", "False"),
    Mutation("a significant end goes by", "elif spec.significant:", "elif False:"),
    Mutation("an interrupt is a failure like any other", 'if end.kind == "interrupted":', "if False:"),
    Mutation("it lives on when all are done", "if not self.spec.stays_when_empty and", "if False and"),
    Mutation("it ends though it should stay", "if not self.spec.stays_when_empty and not any", "if not any"),
    Mutation("a held child keeps it alive", "return child.wanted and child.phase is not Phase.GONE", "return child.phase is not Phase.GONE"),
    Mutation("the limit is one too high", "if not allowed:", "if not allowed and len(self._failures) > spec.intensity + 1:"),
    Mutation("the limit is ignored", "if not allowed:", "if False:"),
    Mutation("collateral failures count", "if not collateral:", "if True:"),
    Mutation("nothing counts after the first failure", "if not collateral:", "if not collateral and not self._bystanders:"),
    Mutation("bystanders stay innocent for ever", "            self._bystanders = set()\n", ""),
    Mutation("the failed are bystanders of themselves", "for c in self.children.values() if c.is_live}", "for c in self.children.values()}\n            self._bystanders |= {(i, n + 1) for i, n in self._bystanders}"),
    Mutation("the wrong count of restarts left", "at > now - self.spec.period_seconds for at", "at >= now for at"),
    Mutation("no backoff", "child.not_before = now + delay", "child.not_before = now"),
    Mutation("no jitter", "delay(child.failures, self._random())", "delay(child.failures, 0.0)"),
    Mutation("stability does not reset the backoff", "child.failures = 1 if stable else", "child.failures ="),
    Mutation("every failure resets the backoff", "child.failures = 1 if stable else child.failures + 1", "child.failures = 1"),
    Mutation("a long start counts as stability", "stable = phase is Phase.RUNNING and ", "stable = "),
    Mutation("one_for_one takes all", "group = [child]", "group = list(self.children.values())"),
    Mutation("one_for_all takes one", "            case Strategy.ONE_FOR_ALL:\n                group = list(self.children.values())", "            case Strategy.ONE_FOR_ALL:\n                group = [child]"),
    Mutation("rest_for_one takes the earlier", "other.order >= child.order]", "other.order <= child.order]"),
    Mutation("rest_for_one takes all", "if other.order >= child.order]", "]"),
    Mutation("a group comes up while it goes down", "blocked = self.spec.strategy is not Strategy.ONE_FOR_ONE and any(child.doom for child in children)", "blocked = False"),
    Mutation("independent children wait for each other's stop", "blocked = self.spec.strategy is not Strategy.ONE_FOR_ONE and", "blocked ="),
    Mutation("the group does not wait for the backoff", "other.not_before = max(other.not_before, not_before)", "pass"),
    Mutation("nobody wakes it for a restart", "wake = min(wake, child.not_before)", "pass"),
    Mutation("nobody watches a start", "wake = min(wake, child.since + child.spec.ready_within_seconds)", "pass"),
    Mutation("late starters are let be", "child.doom = _Doom(0.0, (\"start_timeout\"", "_ = _Doom(0.0, (\"start_timeout\""),
    Mutation("children that start together wait for each other", 'if self.spec.start == "in_order" else frozenset[str]()', ""),
    Mutation("a stopped child is started again", "child.wanted, child.forget = False, forget", "child.forget = forget"),
    Mutation("a removed child is kept", "        if child.forget:\n            self._forget(child.spec.id)\n        elif", "        if"),
    Mutation("a removed child's successor is waited for", "child.gate -= {name}", "child.gate -= set()"),
    Mutation("a removed child's name starts at one", "incarnation=self._incarnations.get(spec.id, 0)", "incarnation=0"),
    Mutation("a restart on command does not lift a hold", "child.wanted, child.forget, child.failures = True, False, 0", "child.failures = 0"),
    Mutation("a restart on command waits for the backoff", "        child.not_before = now\n", ""),
    Mutation("a restart on command does nothing to the living", "        if child.is_live:\n            child.doom = child.doom or _Doom(child.spec.grace_seconds)\n        child.not_before", "        child.not_before"),
    Mutation("a living child can be added again", "case AddChild(spec) if child is None or not child.is_live:", "case AddChild(spec):"),
    Mutation("commands are obeyed while it ends", "case AddChild() | StopChild() | RestartChild() if not self.ending:", "case AddChild() | StopChild() | RestartChild():"),
    Mutation("it is ready before its children are", "return (self.phase is Phase.RUNNING and self.doom is None) or", "return self.phase is Phase.STARTING or (self.phase is Phase.RUNNING and self.doom is None) or"),
)  # fmt: skip


def mutant(mutation: Mutation) -> Any:
    """The SupervisorCore class of core.py with the mutation applied; AssertionError when it no longer applies."""
    source = Path(str(core.__file__)).read_text()
    assert source.count(mutation.old) == 1, f"{mutation.mistake}: {source.count(mutation.old)} places, not one"
    module = ModuleType("mutated_core")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(source.replace(mutation.old, mutation.new), "mutated_core.py", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module.SupervisorCore
