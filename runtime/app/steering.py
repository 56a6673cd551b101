"""Actions on a live run in two steps: what would happen, then doing it. Every one leaves a fact that names who it was.

A ticket is for one action, for a minute, and for one use. What was possible when it was proposed may not be any more
when it is committed: each action is judged again by whoever does it.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass

from mlxd_wire import control_pb2 as pb

from runtime import events as facts
from runtime.app.crew import Crew, Refusal
from runtime.app.effects import COORDINATOR, MONITOR, Effects, Scene, effects_of, rank_from
from runtime.app.root import Root
from runtime.events import RunState
from runtime.ids import ActorPath
from runtime.supervision import Supervisor

TICKET_SECONDS = 60.0
_MOST_TICKETS = 64
_DEAF = "the coordinator is being restarted and hears nothing; try again in a second"


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
        return pb.Ticket(id=ticket, effects=effects.sentences, confirm=effects.confirm)

    async def commit(self, ticket: str, now_seconds: float) -> str:
        """Do it, and say in one sentence what was done.

        Raises Refusal for a ticket that is none any more or an action that is impossible by now, GaveUp for a process
        that cannot start, ActorDown when the run ends meanwhile.
        """
        proposed = self._tickets.pop(ticket, None)
        if proposed is None or now_seconds > proposed.until_seconds:
            raise Refusal("this was proposed too long ago, or is done already; propose it again")
        action = proposed.action
        self._effects(action)
        by = action.by or "the control socket"
        match action.kind:
            case "add_worker":
                return f"worker {await self._crew.add(by)} is up; it joins at a step boundary"
            case "remove_worker":
                return f"worker {await self._crew.remove(by, rank_from(action.subject))} is gone"
            case "restart":
                return await self._restart(ActorPath(action.subject), by)
            case "kill":
                return self._kill(ActorPath(action.subject), by)
            case "acknowledge":
                self._root.bus.publish(facts.AlarmAcknowledged(action.subject, by), ActorPath("run/control"))
                return f"seen: {action.subject}"
            case _:
                return self._steer(action.kind, by)

    def _effects(self, action: pb.Action) -> Effects:
        effects = effects_of(action.kind, action.subject, Scene(self._state(), self._crew.ranks))
        if self._root.outcome and action.kind != "acknowledge":
            raise Refusal("the run is ending")
        return effects

    def _steer(self, kind: str, by: str) -> str:
        """What the coordinator does."""
        match kind:
            case "pause":
                self._root.ask_pause(by)
                return "the run finishes its step and pauses"
            case "resume":
                self._root.ask_resume(by)
                return "the run goes on"
            case "checkpoint":
                if not self._root.ask_checkpoint(by):
                    raise Refusal(_DEAF)
                return "a checkpoint is written at the next step boundary"
            case _:
                if not self._root.ask_stop(by):
                    raise Refusal(_DEAF)
                return "the run finishes its step, writes a checkpoint and ends"

    async def _restart(self, path: ActorPath, by: str) -> str:
        supervisor = self._supervisor_of(path)
        self._root.bus.publish(facts.RestartRequested(path, by), path)
        await supervisor.restart(path.rpartition("/")[2])
        return f"{path} is started anew"

    def _kill(self, path: ActorPath, by: str) -> str:
        row = self._state().actors[path]
        self._root.bus.publish(facts.KillRequested(path, by), path)
        try:
            os.killpg(row.pid, signal.SIGKILL)  # each child leads a session of its own
        except ProcessLookupError:
            raise Refusal(f"process {row.pid} of {path} has just ended by itself") from None
        return f"process {row.pid} of {path} is killed"

    def _supervisor_of(self, path: ActorPath) -> Supervisor:
        owner = {COORDINATOR: self._root.tree, MONITOR: self._root.monitoring}.get(path, self._root.node)
        if owner is None or owner.view() is None:
            raise Refusal(f"{path} is not up; look at the tree")
        return owner
