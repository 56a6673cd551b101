"""Actions on a live run in two steps: what would happen, then doing it. Every one leaves a fact that names who it was.

A ticket is for one action, for a minute, and for one use. What was possible when it was proposed may not be any more
when it is committed: each action is judged again by whoever does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mlxd_wire import control_pb2 as pb

from runtime import events as facts
from runtime.app.crew import Crew, Refusal
from runtime.app.root import Root
from runtime.events import RunState
from runtime.ids import ActorPath, Rank, rank_of
from runtime.supervision import Supervisor

TICKET_SECONDS = 60.0
_MOST_TICKETS = 64
KINDS = ("stop", "add_worker", "remove_worker", "restart", "acknowledge")


@dataclass(frozen=True)
class _Proposed:
    action: pb.Action
    until_seconds: float


class Steering:
    """Belongs to the root's trio thread."""

    def __init__(self, root: Root, crew: Crew, state: Callable[[], RunState]) -> None:
        self._root, self._crew, self._state = root, crew, state
        self._tickets: dict[str, _Proposed] = {}

    def propose(self, action: pb.Action, now_seconds: float) -> pb.Ticket:
        """The effects of an action, and a ticket for it. Raises Refusal where it makes no sense now."""
        effects = self._effects(action)
        while len(self._tickets) >= _MOST_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        ticket = secrets.token_hex(8)
        self._tickets[ticket] = _Proposed(action, now_seconds + TICKET_SECONDS)
        return pb.Ticket(id=ticket, effects=effects)

    async def commit(self, ticket: str, now_seconds: float) -> str:
        """Do it, and say in one sentence what was done.

        Raises Refusal for a ticket that is none any more or an action that is impossible by now, GaveUp for a process
        that cannot start, ActorDown when the run ends meanwhile.
        """
        proposed = self._tickets.pop(ticket, None)
        if proposed is None or now_seconds > proposed.until_seconds:
            raise Refusal("this was proposed too long ago, or is done already; propose it again")
        action = proposed.action
        by = action.by or "the control socket"
        match action.kind:
            case "stop":
                return self._stop(by)
            case "add_worker":
                return f"worker {await self._crew.add(by)} is up; it joins at a step boundary"
            case "remove_worker":
                return f"worker {await self._crew.remove(by, _rank(action.subject))} is gone"
            case "restart":
                return await self._restart(ActorPath(action.subject), by)
            case _:
                return self._acknowledge(action.subject, by)

    def _effects(self, action: pb.Action) -> list[str]:
        match action.kind:
            case "stop":
                return ["the step under way is finished", "a checkpoint is written", "the run ends; it can be resumed"]
            case "add_worker":
                return ["one more worker starts on this machine", "the others heal it; it joins at a step boundary"]
            case "remove_worker":
                return self._effects_of_removal(_rank(action.subject))
            case "restart":
                return self._effects_of_restart(ActorPath(action.subject))
            case "acknowledge":
                self._require_alarm(action.subject)
                return ["the alarm is shown as seen, until its cause comes back"]
            case _:
                raise Refusal(f"{action.kind!r} is no action; there are {', '.join(KINDS)}")

    def _effects_of_removal(self, rank: Rank | None) -> list[str]:
        ranks = self._crew.ranks
        leaves = (ranks[-1] if ranks else None) if rank is None else rank
        if leaves is None or leaves not in ranks:
            raise Refusal(f"there is no worker {leaves}; there are {', '.join(map(str, ranks)) or 'none'}")
        stay = ", ".join(str(other) for other in ranks if other != leaves) or "nobody"
        return [f"worker {leaves} ends for good", f"its part of the step is done by {stay}"]

    def _effects_of_restart(self, path: ActorPath) -> list[str]:
        self._supervisor_of(path)
        rank = rank_of(path)
        if rank is not None:
            again = f"worker {rank} ends and starts anew"
            if len(self._crew.ranks) == 1:
                return [again, "nobody else has the state: the run goes back to its newest checkpoint"]
            return [f"{again}, healed by the others", f"no step is lost: {self._state().training.step} stands"]
        return [f"{path} ends and starts anew", "nobody's restart limit is burnt"]

    def _stop(self, by: str) -> str:
        if not self._root.ask_stop(by):
            raise Refusal("the coordinator is being restarted and hears nothing; try again in a second")
        return "the run finishes its step, writes a checkpoint and ends"

    async def _restart(self, path: ActorPath, by: str) -> str:
        supervisor, name = self._supervisor_of(path)
        self._root.bus.publish(facts.RestartRequested(path, by), path)
        await supervisor.restart(name)
        return f"{path} is started anew"

    def _acknowledge(self, key: str, by: str) -> str:
        self._require_alarm(key)
        self._root.bus.publish(facts.AlarmAcknowledged(key, by), ActorPath("run/control"))
        return f"seen: {key}"

    def _require_alarm(self, key: str) -> None:
        if not key:
            raise Refusal("which alarm? its key is the subject")

    def _supervisor_of(self, path: ActorPath) -> tuple[Supervisor, str]:
        """Who can restart the actor, and by which name."""
        parent, _, name = path.rpartition("/")
        tree, node = self._root.tree, self._root.node
        if self._root.outcome:
            raise Refusal("the run is ending")
        if node is not None and parent == "run/node" and rank_of(path) in self._crew.ranks:
            return node, name
        if tree is not None and parent == "run" and name == "coordinator":
            return tree, name
        raise Refusal(f"{path} cannot be restarted by itself; a worker (run/node/worker-N) or run/coordinator can")


def _rank(subject: str) -> Rank | None:
    if not subject:
        return None
    if not subject.isdecimal():
        raise Refusal(f"{subject!r} is no rank: a number from 0")
    return Rank(int(subject))
